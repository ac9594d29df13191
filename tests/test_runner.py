"""Running notebooks: which, with what, and what remains when they fail."""

import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from toys import write

from stylelab import networks
from stylelab.errors import SettingError, StylelabError
from stylelab.runs import execute
from stylelab.runs import notebooks as runner

NAMES = ["02_content_reconstructions", "03_style_reconstructions", "05_style_transfers"]
FOUND = [Path(f"{name}.ipynb") for name in NAMES]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], [0, 1, 2]),
        (["02"], [0]),
        (["2"], [0]),
        (["reconstructions"], [0, 1]),
        (["Style"], [1, 2]),
        (["05_style_transfers.ipynb", "2", "content"], [0, 2]),
    ],
)
def test_notebooks_are_chosen_by_number_or_part_of_the_name_in_order(names, expected):
    assert runner.choose(names, FOUND) == [FOUND[i] for i in expected]


@pytest.mark.parametrize("name", ["4", "0", "nothing", "٢"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(SettingError, match=f"'{name}'.*02_content.*05_style"):
        runner.choose(["2", name], FOUND)


def test_only_numbered_notebooks_are_found(folder):
    for name in ("10_b.ipynb", "02_a.ipynb", "appendix.ipynb", "03_text.txt"):
        (folder / name).touch()
    assert [path.name for path in runner.find(folder)] == ["02_a.ipynb", "10_b.ipynb"]
    with pytest.raises(StylelabError, match="nowhere.*--notebooks"):
        runner.find(folder / "nowhere")


def test_each_parameter_of_a_profile_can_be_overridden_alone():
    smoke = runner.parameters("smoke")
    assert runner.parameters("smoke", {"size": 32}) == smoke | {"size": 32} != smoke
    with pytest.raises(SettingError, match="'big'"):
        runner.parameters("big")


@pytest.mark.parametrize(
    ("network", "expected"),
    [("vgg19", "quick-vgg19"), ("random:7", "quick-random-7"), ("/a/my net.pth", "quick-my-net")],
)
def test_the_default_output_folder(network, expected):
    values = runner.parameters("quick", {"network": network})
    assert runner.default_output(values) == Path("build", expected)


def test_a_notebook_gets_its_parameters_and_this_interpreter(folder, capsys, monkeypatch):
    spec = folder / "jupyter" / "kernels" / "python3" / "kernel.json"  # of another interpreter
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    monkeypatch.setenv("STYLELAB_CACHE", "a $cache")
    variables = "cache=os.environ['STYLELAB_CACHE']"
    path = write(
        folder / "notebooks" / "01_one.ipynb",
        "import json, os, sys, stylelab",
        f"found = dict(python=sys.executable, size=size, steps=steps, {variables})",
        "json.dump(found, open(output + '/found.json', 'w'))",
        "'profile' in globals()",
    )
    (outcome,) = runner.run_notebooks(
        ["one"], profile="smoke", overrides={"steps": 7}, notebooks=path.parent
    )
    assert outcome.ok and outcome.name == "01_one" and outcome.seconds > 0
    assert outcome.path == Path("build/smoke-vgg19-mini/01_one.ipynb")
    assert json.loads(outcome.path.with_name("found.json").read_text()) == {
        "python": sys.executable,
        "size": 64,
        "steps": 7,
        "cache": str(folder / "a $cache"),
    }
    executed = nbformat.read(outcome.path, as_version=4)
    assert executed.cells[-1].outputs[0].data["text/plain"] == "False"
    said = capsys.readouterr().err
    assert "01_one" in said and " ok" in said and "WARNING" not in said
    assert os.environ["JUPYTER_PATH"] == str(folder / "jupyter")


def test_a_failing_notebook_is_kept_and_shown_and_the_others_still_run(folder, capsys):
    notebooks = folder / "notebooks"
    write(notebooks / "01_bad.ipynb", "def divide():\n    return 1 / 0", "y = 3\ndivide()", "never")
    write(notebooks / "02_dead.ipynb", "import os; os._exit(1)")
    write(notebooks / "03_good.ipynb", "'fine'")
    outcomes = runner.run_notebooks(notebooks=notebooks, output="out")
    assert [outcome.ok for outcome in outcomes] == [False, False, True]
    assert outcomes[0].error.startswith("cell [4]:\n\n    y = 3\n    divide()\n")
    assert outcomes[0].error.endswith("ZeroDivisionError: division by zero")
    assert "\x1b" not in outcomes[0].error
    assert "Kernel died" in outcomes[1].error
    assert all(outcome.path.exists() for outcome in outcomes)
    said = capsys.readouterr().err
    assert "FAILED" in said and "divide()" in said and f"kept as {Path('out/01_bad.ipynb')}" in said


def test_an_interrupt_ends_the_run_and_leaves_what_is_finished(folder, capsys, monkeypatch):
    for name in ("01_good", "02_stopped", "03_never"):
        write(folder / "notebooks" / f"{name}.ipynb")

    def stop_at_the_second(job, progress):
        if "02" in job.notebook.name:
            raise KeyboardInterrupt
        shutil.copy(job.notebook, job.executed)

    monkeypatch.setattr(execute, "execute", stop_at_the_second)
    outcomes = runner.run_notebooks(notebooks="notebooks", output="out")
    found = [(outcome.name, outcome.ok, outcome.interrupted) for outcome in outcomes]
    assert found == [("01_good", True, False), ("02_stopped", False, True)]
    assert "interrupted" in capsys.readouterr().err
    (again, *_) = runner.run_notebooks(["1"], notebooks="notebooks", output="out")
    assert again.up_to_date


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"names": ["1"], "overrides": {"init": "style"}}, SettingError, "parameter init"),
        ({"names": ["1"], "output": "file/out"}, StylelabError, "file/out cannot be made"),
        ({}, StylelabError, "03_text.ipynb cannot be read as a notebook"),
        ({"names": ["1"], "output": "notebooks"}, SettingError, "folder of the notebooks"),
        ({"names": ["1"], "jobs": 0}, SettingError, "jobs must be at least 1"),
    ],
)
def test_what_is_refused_before_the_work(folder, settings, error, words):
    notebook = write(folder / "notebooks" / "01_one.ipynb")
    write(folder / "notebooks" / "02_two.ipynb", declares="init = 'noise'")
    (folder / "notebooks" / "03_text.ipynb").write_text("not JSON")
    (folder / "file").touch()
    before = notebook.read_bytes()
    with pytest.raises(error, match=words):
        runner.run_notebooks(notebooks="notebooks", **settings)
    assert notebook.read_bytes() == before and not (folder / "build").exists()


def test_what_a_run_downloads(monkeypatch):
    fetched = []
    monkeypatch.setattr(networks, "fetch", fetched.append)
    monkeypatch.setattr("stylelab.gallery.path", fetched.append)
    runner.fetch_needed("vgg19-mini", "embedded")
    runner.fetch_needed("random:3", "embedded")
    assert fetched == []
    runner.fetch_needed("vgg19", "paper")
    assert fetched[0] == "vgg19" and "neckarfront" in fetched


DIES = """
import os, sys
if "ipykernel_launcher" in sys.orig_argv and len(os.listdir(os.environ["DEATHS"])) < {count}:
    open(os.path.join(os.environ["DEATHS"], str(os.getpid())), "w").close()
    os._exit(1)
"""


@pytest.mark.parametrize(("deaths", "ok"), [(1, True), (3, False)])
def test_a_kernel_that_dies_before_its_first_cell_is_tried_again(folder, monkeypatch, deaths, ok):
    (folder / "deaths").mkdir()
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(DIES.format(count=deaths))
    monkeypatch.setenv("DEATHS", str(folder / "deaths"))
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"))
    path = write(folder / "notebooks" / "01_one.ipynb", "1")
    (outcome,) = runner.run_notebooks(notebooks=path.parent, output="out", progress=False)
    assert outcome.ok == ok and len(list((folder / "deaths").iterdir())) == deaths
    assert ok or "died" in outcome.error
