"""Several notebooks at once: the same results, a share of the cores each, no orphans."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toys import heed_interrupts, is_running, until, write

from stylelab.errors import SettingError
from stylelab.runs import capacity, uptodate
from stylelab.runs import notebooks as runner

DRAW = """
import os
from stylelab.figures.records import note_file
open(f"{name}.json", "w").write(f"{name} {size}")
note_file(f"{name}.json")
"""
MEET = """
import os, time
open("here-" + name, "w").write(os.environ.get("OMP_NUM_THREADS", "all"))
end = time.monotonic() + 120
while sum(file.startswith("here-") for file in os.listdir()) < 2:
    assert time.monotonic() < end, "the other one did not come"
    time.sleep(0.05)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, and room for any number of notebooks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uptodate, "PACKAGE", tmp_path / "package")  # whose code nobody edits now
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(capacity, "free", lambda device: 1e15)
    return tmp_path


def toy(folder: Path, name: str, *cells: str) -> Path:
    return write(folder / f"{name}.ipynb", *cells, declares=f"name = {name!r}\nsize = 1")


def test_two_at_once_make_what_one_after_the_other_makes(folder, capsys):
    notebooks = folder / "notebooks"
    for name in ("01_one", "02_two"):
        toy(notebooks, name, DRAW)
    toy(notebooks, "03_bad", "1 / 0")
    given = {"notebooks": notebooks, "profile": "smoke"}
    in_turn = runner.run_notebooks(output="in_turn", **given)
    at_once = runner.run_notebooks(output="at_once", jobs=3, **given)
    for outcomes in (in_turn, at_once):
        assert [outcome.name for outcome in outcomes] == ["01_one", "02_two", "03_bad"]
        assert [outcome.ok for outcome in outcomes] == [True, True, False]
    assert in_turn[2].error == at_once[2].error and "ZeroDivisionError" in in_turn[2].error
    made = [
        {path.name: path.read_bytes() for path in (folder / name).glob("*.json")}
        for name in ("in_turn", "at_once")
    ]
    assert made[0] == made[1] == {"01_one.json": b"01_one 64", "02_two.json": b"02_two 64"}
    kept = [path.name for path in (folder / "at_once").glob("*.ipynb")]
    assert sorted(kept) == ["01_one.ipynb", "02_two.ipynb", "03_bad.ipynb"]
    said = capsys.readouterr().err
    assert said.count(" ok\n") == 4 and said.count("FAILED") == 2
    again = runner.run_notebooks(output="at_once", jobs=3, **given)
    assert [outcome.up_to_date for outcome in again] == [True, True, False]


def test_they_run_at_the_same_time_and_share_the_cores(folder, monkeypatch):
    monkeypatch.setattr(capacity, "cores", lambda: 7)
    for name in ("01_one", "02_two"):
        toy(folder / "notebooks", name, MEET)
    outcomes = runner.run_notebooks(notebooks="notebooks", output="out", jobs=2, progress=False)
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert (folder / "out" / "here-01_one").read_text() == "3"


def test_a_process_that_dies_takes_no_other_with_it(folder):
    toy(folder / "notebooks", "01_killed", "import os; os.kill(os.getppid(), 9)")
    toy(folder / "notebooks", "02_fine", DRAW)
    outcomes = runner.run_notebooks(notebooks="notebooks", output="out", jobs=2, progress=False)
    assert "ended with exit code" in outcomes[0].error and not outcomes[0].interrupted
    assert outcomes[1].ok and (folder / "out" / "02_fine.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent in another way there")
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_no_kernel_is_left_behind(folder, blow):
    code = "import os, time; open('kernel-' + name, 'w').write(str(os.getpid())); time.sleep(600)"
    for name in ("01_a", "02_b", "03_c"):
        toy(folder / "notebooks", name, code)
    command = [sys.executable, "-m", "stylelab", "figures", "--notebooks", "notebooks"]
    process = subprocess.Popen(
        [*command, "--size", "32", "--jobs", "2", "--output", "out"],
        env=os.environ | {"PYTHONPATH": str(runner.PACKAGE.parent)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    files = [folder / "out" / f"kernel-{name}" for name in ("01_a", "02_b")]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    process.send_signal(blow)
    said = process.communicate(timeout=120)[1]
    until(lambda: not any(is_running(int(file.read_text())) for file in files))
    assert not (folder / "out" / "kernel-03_c").exists()
    if blow == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in said
        assert said.count("  interrupted\n") == 2
        assert said.endswith("stylelab: interrupted; what was finished before is in out\n")


def test_no_fewer_than_one(folder):
    toy(folder / "notebooks", "01_one", DRAW)
    with pytest.raises(SettingError, match="jobs must be at least 1, got 0"):
        runner.run_notebooks(notebooks="notebooks", jobs=0)


def test_as_many_as_there_is_memory_for(monkeypatch):
    monkeypatch.setattr(capacity, "free", lambda device: 10e9)
    assert capacity.affordable(1, "vgg19", 4096, "cpu") == (1, "")
    assert capacity.affordable(4, "vgg19-mini", 256, "cpu") == (4, "")
    count, said = capacity.affordable(4, "vgg19-mini", 512, "cpu")
    assert count == 2
    assert said == (
        "running 2 at a time, not 4: each notebook may need 4.7 GB of memory, and 10.0 GB are free"
    )
    assert capacity.affordable(4, "weights.pth", 512, "cpu")[0] == 1
    assert capacity.affordable(4, "vgg19", 4096, "cpu")[0] == 1


def test_want_of_memory_is_said(folder, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "free", lambda device: 0.0)
    for name in ("01_one", "02_two"):
        toy(folder / "notebooks", name, DRAW)
    outcomes = runner.run_notebooks(notebooks="notebooks", output="out", jobs=2)
    assert all(outcome.ok for outcome in outcomes)
    assert capsys.readouterr().err.startswith("stylelab: running 1 at a time, not 2: each notebook")


def test_free_memory_is_some():
    assert 0 < capacity.free("cpu") < float("inf")


def test_the_user_s_number_of_threads_goes_before_ours(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(capacity, "cores", lambda: 8)
    assert capacity.threads(1) == {}
    assert set(capacity.threads(3).values()) == {"2"}
    assert capacity.threads(9)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert capacity.threads(3) == {}
