"""The course: every notebook's opening and exercises, and every solution, run in small."""

import re
from pathlib import Path

import nbformat
import pytest

from stylelab.runs import notebooks as runner

COURSE = Path(__file__).parents[1] / "notebooks"
SOLUTIONS = sorted((COURSE / "solutions").glob("*.ipynb"))
# The playground, 10, has things to try in place of exercises.
LESSONS = [path for path in sorted(COURSE.glob("[0-9]*.ipynb")) if path.name[:2] != "10"]

every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
every_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


def prose(path: Path) -> list[str]:
    """The markdown cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def exercises(path: Path) -> dict[int, str]:
    """The titles of a notebook's exercises by number."""
    (section,) = [text for text in prose(path) if text.startswith("## Exercises")]
    found = re.findall(r"^(\d+)\. \*\*(.+?)\*\*", section, flags=re.MULTILINE)
    return {int(number): title.rstrip(".") for number, title in found}


def test_each_lesson_has_a_solution_and_each_solution_a_lesson():
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]


@every_lesson
def test_a_lesson_opens_with_its_question_and_a_picture(path):
    cell = nbformat.read(path, as_version=4).cells[0]
    title, question, picture, about = cell.source.split("\n\n", 3)
    assert re.fullmatch(r"# \d\d .+", title) and question.endswith("?")
    assert re.fullmatch(r"!\[.{20,}\]\(attachment:opening\.jpg\)", picture)
    assert "minute" in about and len(about.split()) < 100
    assert re.fullmatch(r"\w+\.png", cell.metadata["opening"])


@every_lesson
def test_a_lesson_has_exercises_which_are_solved(path):
    numbers = list(exercises(path))
    assert len(numbers) >= 2 and numbers == list(range(1, len(numbers) + 1))
    solution = COURSE / "solutions" / path.name
    text = "\n\n".join(prose(solution))
    for number, title in exercises(path).items():  # a heading, then the exercise in italics
        stated = re.search(rf"^## {number}\. .+\n\n\*\S.+\*$", text, flags=re.MULTILINE)
        assert stated, f"{solution.name} does not state exercise {number}, {title}"


@pytest.mark.parametrize(
    "path",
    [*LESSONS, *SOLUTIONS, COURSE / "README.md"],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_its_links_resolve(path):
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else "\n".join(prose(path))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.partition("#")[0] for link in links if not re.match(r"\w+:|#", link)]
    assert local, "it links to nothing, not even to its lesson or solution"
    assert not [link for link in local if not (path.parent / link).exists()]
    if path in LESSONS:
        assert f"solutions/{path.name}" in local
    elif path in SOLUTIONS:
        assert f"../{path.name}" in local


@every_solution
def test_it_is_kept_executed_and_of_one_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs and not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    for output in outputs:
        for kind in [kind for kind in output.get("data", ()) if kind.startswith("image/")]:
            del output.data[kind]
    assert not re.search(r"/(home|Users|root|tmp|work)/", nbformat.writes(notebook))


@pytest.mark.whole
@every_solution
def test_it_runs(path, tmp_path):
    (outcome,) = runner.run_notebooks(
        [path.stem], profile="smoke", notebooks=path.parent, output=tmp_path, progress=False
    )
    assert outcome.ok, outcome.error
