"""tools/lab.py: a working copy of the course, in which nothing of the user's is lost."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

FILE = Path(__file__).parents[1] / "tools" / "lab.py"
SPEC = importlib.util.spec_from_file_location("lab_tool", FILE)
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)


def write(path: Path, code: str, said: str = "") -> None:
    cell = new_code_cell(code, outputs=[new_output("stream", text=said)] if said else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[cell]), path)


def code(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source


@pytest.fixture
def root(tmp_path):
    """A checkout with a notebook, a solution and a text, copied once."""
    write(tmp_path / "notebooks" / "01_a.ipynb", "1")
    write(tmp_path / "notebooks" / "solutions" / "01_a.ipynb", "2")
    write(tmp_path / "notebooks" / ".ipynb_checkpoints" / "01_a.ipynb", "0")
    (tmp_path / "notebooks" / "README.md").write_text("order")
    tool.main(tmp_path)
    return tmp_path


def test_the_course_is_copied(root):
    found = {
        path.relative_to(root / "lab").as_posix()
        for path in (root / "lab").rglob("*")
        if path.is_file()
    }
    assert found == {"01_a.ipynb", "solutions/01_a.ipynb", "README.md", tool.MEMORY}
    assert code(root / "lab" / "solutions" / "01_a.ipynb") == "2"


def test_what_was_only_run_is_brought_up_to_date(root):
    write(root / "lab" / "01_a.ipynb", "1", said="an output")
    tool.main(root)
    assert "an output" in (root / "lab" / "01_a.ipynb").read_text()  # as there is nothing newer
    write(root / "notebooks" / "01_a.ipynb", "1 + 1")
    tool.main(root)
    assert code(root / "lab" / "01_a.ipynb") == "1 + 1"


def test_what_was_changed_stays_and_is_named_if_there_is_something_newer(root, capsys):
    write(root / "lab" / "01_a.ipynb", "mine")
    (root / "lab" / "new.txt").write_text("mine too")
    tool.main(root)
    assert "stays" not in capsys.readouterr().out
    write(root / "notebooks" / "01_a.ipynb", "1 + 1")
    for _ in range(2):  # also the next time
        tool.main(root)
        assert "lab/01_a.ipynb is yours and stays" in capsys.readouterr().out
        assert code(root / "lab" / "01_a.ipynb") == "mine"
    assert (root / "lab" / "new.txt").read_text() == "mine too"
    (root / "lab" / "01_a.ipynb").unlink()
    tool.main(root)
    assert code(root / "lab" / "01_a.ipynb") == "1 + 1"


def test_a_damaged_copy_is_the_users(root):
    (root / "lab" / "01_a.ipynb").write_text("{")
    tool.main(root)
    assert (root / "lab" / "01_a.ipynb").read_text() == "{"
