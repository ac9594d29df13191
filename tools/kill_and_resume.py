"""Kill runs at random moments, start them again, and compare the final images bit for bit.

    python tools/kill_and_resume.py --kills 50

Four in five of the kills hit `stylelab transfer --checkpoint`, the others `stylelab figures
--checkpoint` on a notebook of two transfers. Half of them are SIGTERM, half SIGKILL. A run is
killed and restarted until it finishes; its images must then equal those of an undisturbed run.
Checkpoints are written every 0.1 seconds, not every ten, and the pictures are tiny. The exit code
is 1 at the first difference. Works on Linux and macOS.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import torch
from nbformat.v4 import new_code_cell, new_notebook

from stylelab import load_image, save_image

ROOT = Path(__file__).resolve().parents[1]
OFTEN = """
import sys
from stylelab.cli.main import main
from stylelab.engine.checkpoint import Checkpoint
Checkpoint.__init__.__kwdefaults__["seconds"] = 0.1
sys.exit(main())
"""
NOTEBOOK = """
import torch, stylelab
from stylelab.engine.checkpoint import Checkpoint
Checkpoint.__init__.__kwdefaults__["seconds"] = 0.1
network = stylelab.load("vgg19-mini")
content, style = (stylelab.load_image(name) for name in ("../photo.png", "../painting.png"))
for seed in (1, 2):
    result = stylelab.transfer(network, content, style, init="noise", seed=seed, steps=STEPS)
    stylelab.save_image(result.images, f"{seed}.png", bits=16)
"""


class Run:
    """A command that is killed until it finishes, and the images that it makes."""

    def __init__(self, name: str, command: list[str], images: list[str]) -> None:
        self.name, self.command, self.images = name, [sys.executable, *command], images
        self.seconds = 0.0  # an undisturbed run takes this long

    def once(
        self,
        folder: Path,
        kill: signal.Signals | None = None,
        after: float = 0.0,
        more: Sequence[str] = (),
    ) -> int:
        """Start it, send it a signal after so many seconds, and return its exit code."""
        with open(folder / "log", "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [*self.command, *more],
                cwd=folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        try:
            process.wait(after if kill else 600)
        except subprocess.TimeoutExpired:
            process.send_signal(kill or signal.SIGKILL)
        return process.wait(120)

    def made(self, folder: Path) -> torch.Tensor:
        """The images that it made, one batch."""
        return torch.cat([load_image(folder / image) for image in self.images])


def prepare(folder: Path, steps: int) -> None:
    """Make two images and a notebook."""
    (folder / "notebooks").mkdir(parents=True)
    maker = torch.Generator().manual_seed(0)
    for name in ("photo.png", "painting.png"):
        save_image(torch.rand(1, 3, 32, 32, generator=maker), folder / name)
    cells = [
        new_code_cell("output = '.'", metadata={"tags": ["parameters"]}),
        new_code_cell(NOTEBOOK.replace("STEPS", str(steps))),
    ]
    nbformat.write(new_notebook(cells=cells), folder / "notebooks" / "01_two.ipynb")


def main() -> None:
    """Kill runs and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=50, help="number of kills (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--steps", type=int, default=400, help="steps of each run (default: 400)")
    options = parser.parse_args()
    rng, steps = random.Random(options.seed), options.steps
    asked = ["photo.png", "painting.png", "-o", "out.png", "--bits", "16", "--size", "32"]
    asked += ["--steps", str(steps), "--checkpoint", "run.safetensors"]
    transfer = Run("transfer", ["-c", OFTEN, "transfer", *asked], ["out.png"])
    names = ["--notebooks", "notebooks", "--output", "out", "--checkpoint"]
    figures = Run("figures", ["-m", "stylelab.cli", "figures", *names], ["out/1.png", "out/2.png"])
    with tempfile.TemporaryDirectory(prefix="stylelab-kill-") as scratch:
        total, ended, resumed = {"SIGTERM": 0, "SIGKILL": 0}, 0, 0
        shares = ((transfer, options.kills - options.kills // 5), (figures, options.kills // 5))
        for run, kills in shares:
            undisturbed = Path(scratch, f"{run.name}-undisturbed")
            prepare(undisturbed, steps)
            for again in ([], ["--force"] if run is figures else []):  # the first start is slow
                began = time.perf_counter()
                if code := run.once(undisturbed, more=again):
                    raise SystemExit(f"undisturbed, {run.name} ended with {code}")
            run.seconds, expected = time.perf_counter() - began, run.made(undisturbed)
            hits = 0
            while hits < kills:
                folder = Path(scratch, f"{run.name}-{ended}")
                prepare(folder, steps)
                code = -1
                while code:
                    kill = rng.choice((signal.SIGTERM, signal.SIGKILL)) if hits < kills else None
                    before = len(list(folder.rglob("*.safetensors")))
                    code = run.once(folder, kill, rng.uniform(0.2, 1.0) * run.seconds)
                    hits += code != 0
                    resumed += code != 0 and before > 0
                    if code:
                        total[kill.name if kill else "none"] += 1
                    if code not in (0, 130, -signal.SIGTERM, -signal.SIGKILL):
                        print((folder / "log").read_text(encoding="utf-8"))
                        raise SystemExit(f"{run.name} ended with exit code {code}")
                if not torch.equal(run.made(folder), expected):
                    raise SystemExit(f"{run.name}: after {hits} kills the image differs")
                left = [p.name for p in folder.rglob("*") if "safetensors" in p.name]
                if left:
                    raise SystemExit(f"{run.name} finished and left {', '.join(left)} behind")
                ended += 1
                print(f"{run.name}: {hits} of {kills} kills, {ended} runs finished", flush=True)
    how = ", ".join(f"{count} {name}" for name, count in total.items())
    print(f"survived {sum(total.values())} kills ({how}), {resumed} of them of resumed runs;")
    print(f"{ended} runs finished, each with the same image bit for bit")


if __name__ == "__main__":
    main()
