"""However a command ends, the same command continues and ends with the same picture or figures."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toys import until, write

from stylelab.cli.main import main
from stylelab.images import load_image, save_image
from stylelab.runs import notebooks as runner

ROOT = Path(__file__).parents[1]

OFTEN = """
import sys
from stylelab.cli.main import main
from stylelab.engine.checkpoint import Checkpoint
Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0
sys.exit(main())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two images, and what a transfer of them ends with as `expected`."""
    monkeypatch.chdir(tmp_path)
    maker = torch.Generator().manual_seed(0)
    for name in ("photo.png", "painting.png"):
        save_image(torch.rand(1, 3, 32, 32, generator=maker), name)
    return tmp_path


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(os.name == "nt", reason="has no such signals")
@pytest.mark.parametrize("optimiser", ["lbfgs", pytest.param("adam", marks=pytest.mark.whole)])
def test_a_transfer_that_is_terminated_and_killed(folder, one_thread, optimiser):
    """Also the pictures on the way are the same in the end."""
    asked = ["transfer", "photo.png", "painting.png", "--size", "32", "--steps", "300"]
    asked += ["--device", "cpu", "--optimizer", optimiser, "--save-every", "100"]

    def start(*arguments):
        command = [sys.executable, "-c", OFTEN, *asked, "-o", *arguments]
        return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)

    def written():
        return Path("run").stat().st_mtime_ns if Path("run").exists() else 0

    assert main([*asked, "-o", "whole.png", "--checkpoint", "never"]) == 0
    assert not Path("never").exists()
    for blow in (signal.SIGTERM, signal.SIGKILL):
        seen = {written()}
        process = start("out.png", "--checkpoint", "run")
        until(lambda seen=seen: (seen.add(written()), len(seen) > 2)[1])  # anew, and again
        process.send_signal(blow)
        said = process.communicate(timeout=120)[1]
        if blow == signal.SIGTERM:
            assert process.returncode == 130
            assert "the best image so far is out.png; the same command continues from run\n" in said
            assert load_image("out.png").shape == (1, 3, 32, 32)
        else:
            assert process.returncode == -signal.SIGKILL
        assert Path("run").exists()
    assert main([*asked, "-o", "out.png", "--checkpoint", "run"]) == 0
    assert torch.equal(load_image("out.png"), load_image("whole.png"))
    for step in ("step0100", "step0200"):
        assert Path(f"out-{step}.png").read_bytes() == Path(f"whole-{step}.png").read_bytes()
    names = {
        f"{name}{step}.png" for name in ("out", "whole") for step in ("-step0100", "-step0200")
    }
    names |= {"photo.png", "painting.png", "whole.png", "out.png"}
    assert {path.name for path in folder.iterdir()} == names


COUNTING = """
import os
import torch
import stylelab
from stylelab.engine.checkpoint import Checkpoint
Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0
def count(run, states):
    for state in states:
        open("begun", "a").write(f"{state.step} ")
        if state.step == 3 and not os.path.exists("blow"):
            open("blow", "w").close()
            os._exit(1)
        yield state
"""
PAINT = """
network = stylelab.load("vgg19-mini")
image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
hooks = [count, *network.hooks]
result = stylelab.transfer(
    network, image, image, init="noise", steps=5, progress=False, hooks=hooks
)
"""


def test_figures_go_on_where_they_were_killed(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write(folder / "notebooks" / "01_one.ipynb", COUNTING, PAINT)
    given = {"notebooks": "notebooks", "output": "out", "checkpoint": True, "progress": False}
    (outcome,) = runner.run_notebooks(**given)
    assert "Kernel died" in outcome.error
    kept = folder / "out" / ".stylelab" / "checkpoints"
    assert len(list(kept.glob("01_one/*/*.safetensors"))) == 1
    (outcome,) = runner.run_notebooks(**given)
    assert outcome.ok and not list(kept.glob("*"))
    assert (folder / "out" / "begun").read_text() == "0 1 2 3 2 3 4 5 "
