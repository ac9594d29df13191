"""What is up to date does not run again, and everything else does."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_output
from toys import write

from stylelab import gallery, networks
from stylelab.engine import devices
from stylelab.figures import records
from stylelab.runs import execute, uptodate
from stylelab.runs import notebooks as runner
from stylelab.runs.dependencies import files_used

RUN = ["01_one"]
PACKAGE_ROOT = uptodate.PACKAGE
MAKE = """
from pathlib import Path
import stylelab.figures
from stylelab.figures.records import note_file
Path("panels").mkdir(exist_ok=True)
for name in ("figure.png", "panels/a.png"):
    Path(name).write_text(f"{name} of {size}")
    note_file(name)
stylelab.transfer
"""
# A package whose notebook depends on everything but `app` and `figures.films`.
PACKAGE = {
    "__init__.py": "_HOMES = {'transfer': 'synthesis', 'lone': 'app.playground'}",
    "synthesis.py": "from stylelab.losses import gram_matrix",
    "losses.py": "",
    "assets/weights": "",
    "figures/__init__.py": "from . import panels",
    "figures/panels.py": "from ..figures.drawings import draw",
    "figures/drawings.py": "import stylelab.errors",
    "figures/records.py": "",
    "figures/films.py": "import stylelab.app",
    "errors.py": "",
    "app/__init__.py": "import stylelab.figures",
    "app/playground.py": "from stylelab.app import live_view",
    "app/live_view.py": "",
    "app/assets/style.css": "",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a notebook, and a package, weights and images that may change."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "notebooks" / "01_one.ipynb", MAKE)
    for name, text in {**{f"stylelab/{k}": v for k, v in PACKAGE.items()}, "image": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(uptodate, "PACKAGE", tmp_path / "stylelab")
    monkeypatch.setattr(networks, "path", lambda name: tmp_path / "weights")
    monkeypatch.setattr(gallery, "path", lambda name: tmp_path / "image")
    monkeypatch.setattr(runner, "fetch_needed", lambda network, images: None)
    return tmp_path


@pytest.fixture
def quickly(monkeypatch):
    """In place of a kernel: what MAKE does, or an error where the folder has a file `fail`."""

    def pretend(job, progress):
        folder = job.executed.parent
        shutil.copy(job.notebook, job.executed)
        if (folder / "fail").exists():
            raise RuntimeError("failed as it should")
        monkeypatch.setenv(records.NOTES, job.environment[records.NOTES])
        (folder / "panels").mkdir(exist_ok=True)
        for name in ("figure.png", "panels/a.png"):
            (folder / name).write_text(f"{name} of {job.parameters['size']}")
            records.note_file(folder / name)

    monkeypatch.setattr(execute, "execute", pretend)


def run(**settings) -> list[str]:
    """The names of the notebooks that ran, and ran well."""
    given = {"notebooks": "notebooks", "output": "out"} | settings
    outcomes = runner.run_notebooks(**given)
    return [outcome.name for outcome in outcomes if outcome.ok and not outcome.up_to_date]


def test_a_second_run_does_nothing_and_says_so(folder, quickly, capsys):
    assert run(progress=False) == RUN
    assert uptodate.outputs(folder / "out" / "01_one.ipynb") == [
        folder / "out" / name for name in ("01_one.ipynb", "figure.png", "panels/a.png")
    ]
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.*")}
    capsys.readouterr()
    (outcome,) = runner.run_notebooks(notebooks="notebooks", output="out")
    assert outcome.ok and outcome.up_to_date and outcome.path.samefile("out/01_one.ipynb")
    assert capsys.readouterr().err.split() == ["01_one", "up", "to", "date"]
    changed = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert {path.name for path in changed} <= {".stylelab", "lock"}


def edit_notebook(folder):
    write(folder / "notebooks" / "01_one.ipynb", MAKE, "1 + 1")


def edit(name):
    return lambda folder: (folder / name).write_text("# changed")


@pytest.mark.parametrize(
    "change",
    [
        edit_notebook,
        *(edit(f"stylelab/{name}.py") for name in ("__init__", "synthesis", "losses", "errors")),
        *(edit(f"stylelab/figures/{name}.py") for name in ("__init__", "panels", "drawings")),
        edit("stylelab/assets/weights"),
        edit("weights"),
        edit("image"),
        edit("out/figure.png"),
        lambda folder: (folder / "out/.stylelab/01_one.json").write_text("[1]"),
        lambda folder: (folder / "out/panels/a.png").unlink(),
        lambda folder: (folder / "out/01_one.ipynb").write_text("{}"),
    ],
)
def test_it_runs_again_after_a_change(folder, quickly, change):
    assert run() == RUN and run() == []
    change(folder)
    assert run() == RUN and run() == []


@pytest.mark.parametrize(
    "cell",
    [
        "from stylelab.app import playground",
        "from stylelab import lone",
        "import stylelab as s\ns.lone",
        "import stylelab\ngetattr(stylelab, input())",
        "from stylelab import *",
        "from importlib import import_module\nimport_module('stylelab.' + 'app.playground')",
        "!stylelab transfer",
        "%run program.py",
        "this is no Python",
    ],
)
def test_what_a_cell_may_use_counts_and_nothing_else(folder, quickly, cell):
    """`app.playground` does not count without such a cell."""
    assert run() == RUN
    edit("stylelab/app/playground.py")(folder)
    edit("stylelab/app/assets/style.css")(folder)
    assert run() == []
    write(folder / "notebooks" / "01_one.ipynb", MAKE, cell)
    assert run() == RUN and run() == []
    (folder / "stylelab/app/playground.py").write_text("# changed again")
    assert run() == RUN and run() == []


def test_the_course_s_notebooks_depend_on_what_they_show():
    def used(number):
        (notebook,) = runner.choose([number], runner.find())
        cells = [c.source for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
        return {p.relative_to(PACKAGE_ROOT).as_posix() for p in files_used(cells, PACKAGE_ROOT)}

    assert {"losses.py", "synthesis.py", "figures/panels.py", "assets/gallery.json"} <= used("5")
    assert not any(name.startswith(("app/", "cli/", "distil/", "runs/")) for name in used("5"))
    assert {"app/playground.py", "losses.py"} <= used("10")


def test_it_runs_again_with_other_parameters_versions_or_devices(folder, quickly, monkeypatch):
    assert run() == RUN
    for override in ({"size": 2}, {"steps": 3}, {}):
        assert run(overrides=override) == RUN and run(overrides=override) == []
    monkeypatch.setattr(uptodate, "version", lambda package: "99")
    assert run() == RUN and run() == []
    monkeypatch.setattr(devices, "pick_device", lambda name: "cuda")
    assert run() == RUN and run() == []


def save_outputs(folder):
    path = folder / "notebooks" / "01_one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [new_output("stream", text="saved")]
    notebook.cells[0].execution_count = 1
    nbformat.write(notebook, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "out/other.png").touch(),
        lambda folder: (folder / "stylelab/notes.txt").touch(),
        lambda folder: (folder / "stylelab/figures/.#panels.py").symlink_to("nowhere"),
        lambda folder: (folder / "stylelab/figures/new.py").touch(),
        edit("stylelab/figures/films.py"),
        lambda folder: shutil.move(folder / "out", folder / "moved"),
        save_outputs,
    ],
)
def test_what_does_not_matter(folder, quickly, change):
    assert run() == RUN
    change(folder)
    assert run(output="moved" if (folder / "moved").exists() else "out") == []


def test_force_runs_all_and_a_failed_notebook_is_not_up_to_date(folder, quickly):
    assert run() == RUN and run(force=True) == RUN and run() == []
    (folder / "out" / "fail").touch()
    assert run(force=True) == [] and run() == []  # failed, and failed again
    (folder / "out" / "fail").unlink()
    assert run() == RUN


def test_only_what_changed_runs_again(folder, quickly):
    write(folder / "notebooks" / "02_two.ipynb", MAKE + "#")
    assert run() == ["01_one", "02_two"]
    edit_notebook(folder)
    assert run() == ["01_one"]


def test_the_paper_s_images_count_once_they_are_here(folder, quickly, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(folder / "cache"))
    given = {"overrides": {"size": 3}, "profile": "paper"}
    assert run(**given) == RUN and run(**given) == []
    (folder / "cache").mkdir()
    (folder / "cache" / gallery.info("neckarfront").file).write_text("arrived")
    assert run(**given) == RUN and run(**given) == []
    (folder / "cache" / gallery.info("starry_night").file).write_text("not in this notebook's cast")
    assert run() == RUN  # the quick profile


def test_files_are_noted_where_that_was_asked_for(tmp_path, monkeypatch):
    notes, figure = tmp_path / "notes", tmp_path / "a figure\n.png"
    monkeypatch.delenv(records.NOTES, raising=False)
    records.note_file(figure)
    assert records.noted(notes) == ()
    monkeypatch.setenv(records.NOTES, str(notes))
    figure.touch()
    for path in (figure, tmp_path / "gone.png", figure):
        records.note_file(path)
    assert records.noted(notes) == (figure,)
