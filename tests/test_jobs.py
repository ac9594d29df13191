"""Several notebooks at once: the same results, a share of the cores each, no orphans."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toys import heed_interrupts, is_running, until, write

from stylelab.engine import memory
from stylelab.errors import StylelabError
from stylelab.runs import capacity, uptodate
from stylelab.runs import notebooks as runner

DRAW = 'open(f"{name}.json", "w").write(f"{name} {size}")'
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
    package = tmp_path / "package"  # whose code nobody edits now
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(uptodate, "PACKAGE", package)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(memory, "free", lambda device: 1e15)
    return tmp_path


def toy(folder: Path, name: str, *cells: str) -> Path:
    return write(folder / f"{name}.ipynb", *cells, declares=f"name = {name!r}\nsize = 1")


def test_some_at_once_and_one_that_dies_takes_no_other_with_it(folder, capsys, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    for name in ("01_one", "02_two"):
        toy(folder / "notebooks", name, MEET, DRAW)
    toy(folder / "notebooks", "03_bad", "1 / 0")
    toy(folder / "notebooks", "04_killed", "import os; os.kill(os.getppid(), 9)")
    outcomes = runner.run_notebooks(notebooks="notebooks", profile="smoke", output="out", jobs=3)
    assert [outcome.name for outcome in outcomes] == ["01_one", "02_two", "03_bad", "04_killed"]
    assert [outcome.ok for outcome in outcomes] == [True, True, False, False]
    assert "ZeroDivisionError" in outcomes[2].error and not outcomes[3].interrupted
    for name in ("01_one", "02_two"):
        assert (folder / "out" / f"{name}.json").read_text() == f"{name} 64"
        assert (folder / "out" / f"here-{name}").read_text() == "2"  # a share of the cores
    said = capsys.readouterr().err
    assert said.count(" ok\n") == 2 and said.count("FAILED") == 2


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent in another way there")
@pytest.mark.parametrize(
    ("blow", "jobs"),
    [
        (signal.SIGINT, 2),
        (signal.SIGKILL, 1),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.whole),
        pytest.param(signal.SIGKILL, 2, marks=pytest.mark.whole),
    ],
)
def test_however_a_run_ends_nothing_of_it_goes_on(folder, blow, jobs):
    """And while it lasts, no other run uses its folder; what it leaves the next run removes."""
    code = "import os, time; open('kernel-' + name, 'w').write(f'{os.getpid()} {os.getppid()}')"
    for name in ("01_a", "02_b", "03_c"):
        toy(folder / "notebooks", name, f"{code}; time.sleep(600)")
    command = [sys.executable, "-m", "stylelab.cli", "figures", "--notebooks", "notebooks"]
    process = subprocess.Popen(
        [*command, "--size", "32", "--jobs", str(jobs), "--output", "out"],
        env=os.environ | {"PYTHONPATH": str(runner.PACKAGE.parent)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    files = [folder / "out" / f"kernel-{name}" for name in ("01_a", "02_b")[:jobs]]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    processes = {int(each) for file in files for each in file.read_text().split()}
    with pytest.raises(StylelabError, match=r"out.*--output"):
        runner.run_notebooks(notebooks="notebooks", output="out")
    process.send_signal(blow)
    said = process.communicate(timeout=120)[1]
    until(lambda: not any(map(is_running, processes)), 10)
    assert len(list((folder / "out").glob("kernel-*"))) == jobs
    if blow == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in said
        assert said.count("  interrupted\n") == jobs
        assert said.endswith("stylelab: interrupted; what was finished before is in out\n")
    else:
        toy(folder / "notebooks", "04_fine", "1")
        assert runner.run_notebooks(["4"], notebooks="notebooks", output="out")[0].ok
    assert not (folder / "out" / ".stylelab" / "running").exists()


@pytest.mark.parametrize(
    ("asked", "network", "size", "count"),
    [
        *((1, "vgg19", 4096, 1), (4, "vgg19-mini", 256, 4), (4, "vgg19-mini", 512, 2)),
        *((4, "weights.pth", 512, 1), (4, "vgg19", 4096, 1)),
    ],
)
def test_as_many_as_there_is_memory_for(monkeypatch, asked, network, size, count):
    monkeypatch.setattr(memory, "free", lambda device: 10e9)
    found, said = capacity.affordable(asked, network, size, "cpu")
    assert found == count
    assert ("10.0 GB" in said) == (count < asked)


def test_the_user_s_number_of_threads_goes_before_ours(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for at_once, share in ((1, {}), (3, {"OMP_NUM_THREADS": "2"}), (9, {"OMP_NUM_THREADS": "1"})):
        assert capacity.share_of_cores(at_once) == share
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert capacity.share_of_cores(3) == {}
