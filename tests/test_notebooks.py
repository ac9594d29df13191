"""Every notebook: how it is kept in the repository, and a tiny run of it from start to end."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from stylelab.runs import notebooks as runner

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
FIGURES = [path for path in NOTEBOOKS if path.name[0].isdigit()]

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_figure = pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert FIGURES


@every_notebook
def test_it_is_kept_as_a_reader_wants_it(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "error"]
    for output in outputs:  # whose pictures, in base64, may look like anything
        for kind in [kind for kind in output.get("data", ()) if kind.startswith("image/")]:
            del output.data[kind]
    assert not re.search(r"/(home|Users|root|tmp|work)/|[A-Z]:\\\\", json.dumps(notebook))


@every_notebook
def test_its_saved_outputs_are_of_one_run_and_for_readers(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in cells if cell.source]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert not [kind for o in outputs for kind in o.get("data", ()) if "widget" in kind]
    assert path.stat().st_size < 3_000_000


@every_figure
def test_its_parameters_are_those_of_the_quick_profile(path):
    """A notebook opened by hand does what `stylelab figures` does."""
    cells = nbformat.read(path, as_version=4).cells
    (source,) = [c.source for c in cells if "parameters" in c.metadata.get("tags", ())]
    declared = {s.targets[0].id: ast.literal_eval(s.value) for s in ast.parse(source).body}
    expected = runner.parameters("quick")
    assert declared.pop("output") == f"../{runner.default_output(expected).as_posix()}"
    assert expected.items() <= declared.items()


def test_no_two_notebooks_save_under_one_name():
    """They share a folder."""
    saved = {
        path.stem: set(re.findall(r'(?:lab\.(?:show|save|film)|save_picture)\([^"]*"(\w+)"', text))
        for path in FIGURES
        if (text := "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells))
    }
    assert all(saved.values())
    assert sum(map(len, saved.values())) == len(set.union(*saved.values()))


@pytest.mark.whole
@every_figure
def test_it_runs(path, tmp_path, capsys):
    (outcome,) = runner.run_notebooks([path.stem], profile="smoke", output=tmp_path)
    assert outcome.ok, outcome.error
    records = list(tmp_path.glob("*.json"))
    assert bool(records) == ("lab.save(" in path.read_text(encoding="utf-8"))
    for file in records:
        record = json.loads(file.read_text(encoding="utf-8"))
        assert record["parameters"]["profile"] == "smoke" and record["parameters"]["size"] == 64
        with Image.open(file.with_suffix(".png")) as figure:
            figure.load()
    assert capsys.readouterr().err.count(" ok\n") == 1
