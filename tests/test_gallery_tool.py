"""tools/gallery.py: what is committed of the runs in build/."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from toys import write

from stylelab.errors import StylelabError
from stylelab.runs import notebooks as runner
from stylelab.runs import uptodate

FILE = Path(__file__).parents[1] / "tools" / "gallery.py"
SPEC = importlib.util.spec_from_file_location("gallery_tool", FILE)
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)

CELLS = [
    "import sys, warnings\nfrom pathlib import Path\nfrom tqdm.auto import tqdm",
    "for _ in tqdm(range(3)): print('a step')\nwarnings.warn('noise')",
    """
from IPython.display import Image, display
from stylelab.figures.manifest import note_file
Path("panels").mkdir(exist_ok=True)
for file in ("figure.png", "figure.json", "panels/a.png"):
    Path(file).write_text(f"{file} of {size} pixels")
    note_file(file)
display(Image(data=b"\\xff\\xd8", format="jpeg", width=900))""",
    "size, output",
    "",
]
DECLARES = "size = 256\noutput = '../build/quick-vgg19-mini'"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one notebook."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uptodate, "PACKAGE", tmp_path / "package")  # whose code nobody edits now
    write(tmp_path / "notebooks" / "02_a.ipynb", *CELLS, declares=DECLARES)
    return tmp_path


def make(**settings) -> None:
    """The runs of `make gallery`."""
    for values in ({"profile": "paper", "overrides": {"network": "vgg19-mini"} | settings}, {}):
        outcomes = runner.run_notebooks(notebooks="notebooks", progress=False, **values)
        assert all(outcome.ok for outcome in outcomes), outcomes


def test_figures_and_outputs_of_finished_runs_are_kept(root, monkeypatch, capsys):
    monkeypatch.setattr(runner, "fetch_needed", lambda network, images: None)
    declared = {"profile": "x", "network": "x", "images": "x"}
    text = "\n".join([DECLARES, *(f"{name} = {value!r}" for name, value in declared.items())])
    notebook = write(root / "notebooks" / "02_a.ipynb", *CELLS, declares=text)
    before = nbformat.read(notebook, as_version=4)
    make()
    figures = root / "figures" / "paper-vgg19-mini"
    figures.mkdir(parents=True)
    for name in ("renamed.png", "README.md"):
        (figures / name).touch()
    assert tool.main(root) == 0
    kept = {path.name: path.read_text() for path in figures.iterdir()}
    assert kept.pop("README.md") == ""
    assert kept == {name: f"{name} of 512 pixels" for name in ("figure.png", "figure.json")}
    assert (root / "figures/quick-vgg19-mini/figure.png").read_text() == "figure.png of 256 pixels"

    after = nbformat.read(notebook, as_version=4)
    nbformat.validate(after)
    assert after.metadata == before.metadata
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.metadata for c in after.cells] == [c.metadata for c in before.cells]
    assert [c.execution_count for c in after.cells] == [1, 2, 3, 4, 5, None]
    assert [[o.output_type for o in c.outputs] for c in after.cells] == [
        *([], [], ["stream"], ["display_data"], ["execute_result"], []),
    ]
    assert after.cells[2].outputs[0].text == "a step\n" * 3
    assert after.cells[3].outputs[0].metadata == {"image/jpeg": {"width": 900}}
    assert after.cells[4].outputs[0].data["text/plain"] == "(256, '.')"
    assert after.cells[4].outputs[0].execution_count == 5

    text = notebook.read_text()
    make()  # what is in place already does not run again
    assert tool.main(root) == 0 and notebook.read_text() == text


def test_nothing_is_kept_of_a_run_that_is_not_whole(root, monkeypatch):
    before = (root / "notebooks" / "02_a.ipynb").read_bytes()
    with pytest.raises(StylelabError, match="02_a.ipynb is no finished run"):
        tool.main(root)
    for name in tool.FOLDERS:
        (root / "build" / name).mkdir(parents=True)
        executed = root / "build" / name / "02_a.ipynb"
        executed.write_bytes(before)
        executed.with_name("figure.png").touch()
        uptodate.remember(executed, "f", [executed.with_name("figure.png")])
    (root / "build" / tool.QUICK / "figure.png").write_text("painted over")
    with pytest.raises(StylelabError, match="altered"):
        tool.main(root)
    assert not (root / "figures").exists()
    assert (root / "notebooks" / "02_a.ipynb").read_bytes() == before


def executed(root: Path, *outputs, **injected) -> Path:
    """The executed form of a notebook with one further cell, `1`, which had these outputs."""
    notebook = nbformat.read(write(root / "notebooks" / "02_a.ipynb", "1"), as_version=4)
    tags = {"tags": ["injected-parameters"]}
    notebook.cells.insert(1, new_code_cell("size = 256", metadata=tags, execution_count=2))
    notebook.cells[2].update(outputs=list(outputs), execution_count=3)
    notebook.metadata.papermill = {"parameters": {"size": 256, "output": "."} | injected}
    nbformat.write(notebook, root / "ran.ipynb")
    return root / "ran.ipynb"


def test_a_page_is_of_its_notebook(root):
    notebook = root / "notebooks" / "02_a.ipynb"
    ran = executed(root, new_output("stream", text="fine"))
    assert '"fine"' in tool.page(ran, notebook, root)
    other = nbformat.read(notebook, as_version=4)
    other.cells.append(new_markdown_cell("more to read"))
    nbformat.write(other, notebook)
    assert '"more to read"' in tool.page(ran, notebook, root)
    other.cells.append(new_code_cell("2"))
    nbformat.write(other, notebook)
    with pytest.raises(StylelabError, match=r"ran\.ipynb was not made from .*02_a\.ipynb"):
        tool.page(ran, notebook, root)


def test_a_page_is_of_the_quick_profile(root):
    ran = executed(root, size=64)
    with pytest.raises(StylelabError, match="not made with the quick profile"):
        tool.page(ran, root / "notebooks" / "02_a.ipynb", root)


def test_a_page_tells_of_no_folder_and_is_no_burden(root):
    picture = new_output("display_data", data={"image/png": f"{root}/{'0' * 3_000_000}"})
    for output, said in (
        (new_output("stream", text=f"saved {root}/figure.png"), "do not print paths"),
        (new_output("display_data", data={"text/plain": f"{root}/a"}), "do not print paths"),
        (picture, "3.0 MB"),
    ):
        with pytest.raises(StylelabError, match=said):
            tool.page(executed(root, output), root / "notebooks" / "02_a.ipynb", root)
