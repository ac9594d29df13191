"""tools/gallery.py: which figures and outputs of the runs in build/ are committed.

Runs are imitated without a kernel: papermill injects the parameters, and outputs are written in.
"""

import base64
import importlib.util
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image
from toys import write

from stylelab.errors import StylelabError
from stylelab.runs import notebooks, uptodate

FILE = Path(__file__).parents[1] / "tools" / "gallery.py"
SPEC = importlib.util.spec_from_file_location("gallery_tool", FILE)
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)

CELLS = ["work()", "show()", "size", ""]
DECLARES = "\n".join(f"{name} = None" for name in (*notebooks.parameters("quick"), "output"))
WIDGET = {tool.WIDGET: {"model_id": "0"}, "text/plain": "a bar"}


@pytest.fixture
def root(tmp_path):
    """A checkout with one notebook."""
    write(tmp_path / "notebooks" / "02_a.ipynb", *CELLS, declares=DECLARES)
    return tmp_path


def outputs_of(size: int) -> list[list]:
    """What the declaring cell, the injected one and `CELLS` print and show."""
    steps = [
        new_output("stream", name="stderr", text="a warning"),
        new_output("display_data", data=WIDGET),
        new_output("stream", name="stdout", text="a step\n"),
    ]
    picture = new_output(
        "display_data", data={"image/jpeg": "/9g="}, metadata={"image/jpeg": {"width": 900}}
    )
    value = new_output("execute_result", data={"text/plain": str(size)}, execution_count=5)
    return [[], [], steps, [picture], [value], []]


def run(
    root: Path, folder: str, profile: str, outputs: list[list] | None = None, **changed
) -> Path:
    """A finished run of the notebook in build/`folder`; returns the executed notebook."""
    papermill = pytest.importorskip("papermill")
    values = notebooks.parameters(profile, changed)
    executed = root / "build" / folder / "02_a.ipynb"
    executed.parent.mkdir(parents=True)
    papermill.execute_notebook(
        root / "notebooks" / "02_a.ipynb",
        executed,
        values | {"output": "."},
        kernel_name="python3",
        language="python",
        prepare_only=True,
    )
    page = nbformat.read(executed, as_version=4)
    for count, (cell, shown) in enumerate(
        zip(page.cells, outputs or outputs_of(values["size"]), strict=True), 1
    ):
        if cell.cell_type == "code":
            cell.update(outputs=shown, execution_count=count if cell.source else None)
    nbformat.write(page, executed)
    names = ("figure.png", "figure.json", "curves.png", "panels/a.png")
    made = [executed.parent / name for name in names]
    for file in made:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{file.name} of {values['size']} pixels")
    uptodate.remember(executed, "f", made)
    return executed


def run_both(root: Path) -> None:
    run(root, "paper-vgg19-mini", "paper", network="vgg19-mini")
    run(root, tool.QUICK, "quick")


def test_figures_and_outputs_of_finished_runs_are_kept(root):
    notebook = root / "notebooks" / "02_a.ipynb"
    before = nbformat.read(notebook, as_version=4)
    run_both(root)
    figures = root / "figures" / "paper-vgg19-mini"
    figures.mkdir(parents=True)
    for name in ("renamed.png", "README.md"):
        (figures / name).touch()
    assert tool.main(root) == 0
    kept = {path.name: path.read_text() for path in figures.iterdir()}
    assert kept.pop("README.md") == ""
    assert kept == {name: f"{name} of 512 pixels" for name in ("figure.png", "figure.json")}
    quick = root / "figures" / tool.QUICK  # has those without a record, too
    assert (quick / "figure.png").read_text() == "figure.png of 256 pixels"
    assert (quick / "curves.png").read_text() == "curves.png of 256 pixels"

    after = nbformat.read(notebook, as_version=4)
    nbformat.validate(after)
    assert after.metadata == before.metadata
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.metadata for c in after.cells] == [c.metadata for c in before.cells]
    assert [c.execution_count for c in after.cells] == [1, 2, 3, 4, None]
    _, (steps,), (picture,), (value,), _ = (c.outputs for c in after.cells)
    assert steps.text == "a step\n"
    assert picture.metadata == {"image/jpeg": {"width": 900}}
    assert value.data["text/plain"] == "256" and value.execution_count == 4

    text = notebook.read_text()
    assert tool.main(root) == 0 and notebook.read_text() == text


def test_nothing_is_kept_of_unfinished_or_altered_runs(root):
    before = (root / "notebooks" / "02_a.ipynb").read_bytes()
    with pytest.raises(StylelabError, match=r"02_a\.ipynb"):
        tool.main(root)
    run_both(root)
    (root / "build" / tool.QUICK / "figure.png").write_text("painted over")
    with pytest.raises(StylelabError, match=r"quick-vgg19-mini/02_a\.ipynb"):
        tool.main(root)
    assert not (root / "figures").exists()
    assert (root / "notebooks" / "02_a.ipynb").read_bytes() == before


def test_texts_may_change_after_the_run_but_not_code(root):
    notebook = root / "notebooks" / "02_a.ipynb"
    ran = run(root, tool.QUICK, "quick")
    other = nbformat.read(notebook, as_version=4)
    other.cells.append(new_markdown_cell("more to read"))
    nbformat.write(other, notebook)
    assert '"more to read"' in tool.page(ran, notebook, root)
    other.cells.append(new_code_cell("2"))
    nbformat.write(other, notebook)
    with pytest.raises(StylelabError, match=r"not made from .*02_a\.ipynb"):
        tool.page(ran, notebook, root)


def test_values_must_be_those_of_the_quick_profile(root):
    ran = run(root, tool.QUICK, "quick", size=64)
    with pytest.raises(StylelabError, match="quick profile"):
        tool.page(ran, root / "notebooks" / "02_a.ipynb", root)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("stream", "saved {root}/figure.png", "paths"),
        ("text/plain", "{root}/a", "paths"),
        ("image/png", "{root}/" + "0" * 3_000_000, "3.0 MB"),
    ],
)
def test_outputs_name_no_folder_and_are_not_too_large(root, kind, content, message):
    content = content.format(root=root)
    if kind == "stream":
        output = new_output("stream", text=content)
    else:
        output = new_output("display_data", data={kind: content})
    ran = run(root, tool.QUICK, "quick", [[], [], [output], [], [], []])
    with pytest.raises(StylelabError, match=message):
        tool.page(ran, root / "notebooks" / "02_a.ipynb", root)


def opens_with(notebook: Path, figure: str) -> None:
    """Name the figure that a notebook's first cell, a text, shows."""
    page = nbformat.read(notebook, as_version=4)
    page.cells.insert(0, new_markdown_cell("![a ramp](attachment:opening.jpg)"))
    page.cells[0].metadata["opening"] = figure
    nbformat.write(page, notebook)


@pytest.mark.parametrize("grain", [0, 127])
def test_a_notebook_opens_with_a_small_copy_of_the_figure_it_names(root, grain):
    notebook = root / "notebooks" / "02_a.ipynb"
    opens_with(notebook, "ramp.png")
    ran = run(root, tool.QUICK, "quick", [[], *outputs_of(256)])
    noise = np.random.default_rng(0).integers(0, grain + 1, (600, 1200, 3))
    ramp = np.linspace(64, 191, 1200)[:, None] + noise - grain / 2
    Image.fromarray(ramp.astype(np.uint8)).save(ran.parent / "ramp.png")
    page = nbformat.reads(tool.page(ran, notebook, root), as_version=4)
    nbformat.validate(page)
    data = base64.b64decode(page.cells[0].attachments["opening.jpg"]["image/jpeg"])
    assert len(data) <= 90_000
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG" and abs(picture.width - 2 * picture.height) < 2
        assert picture.width == 900 or (grain and picture.width < 900)
        shown = np.asarray(picture.convert("L").resize((4, 1)), float)
    assert np.abs(shown - [80, 112, 143, 175]).max() < 5


def test_a_figure_to_open_with_that_was_not_made_is_named(root):
    notebook = root / "notebooks" / "02_a.ipynb"
    opens_with(notebook, "figure9.png")
    ran = run(root, tool.QUICK, "quick", [[], *outputs_of(256)])
    with pytest.raises(StylelabError, match=r"figure9\.png, the opening picture"):
        tool.page(ran, notebook, root)
