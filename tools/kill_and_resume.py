"""Kill runs at random moments, start them again, and look whether they end with the same image.

    python tools/kill_and_resume.py --kills 50

Four in five of the kills hit `stylelab transfer --checkpoint`, the others `stylelab figures
--checkpoint` on a notebook of two transfers; half of them are SIGTERM, half SIGKILL. Each run is
killed again and again, until it ends well, and what it made is then compared with what a run that
nobody disturbed made: bit for bit. Checkpoints are written every 0.1 seconds, not every ten, and
the pictures are tiny. Ends with exit code 1 at the first difference. On Linux or macOS.
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
from stylelab.cli.main import main as cli
from stylelab.engine import checkpoint
checkpoint.SECONDS = 0.1
sys.exit(cli.main())
"""
NOTEBOOK = """
import torch, stylelab
from stylelab.engine import checkpoint
checkpoint.SECONDS = 0.1
network = stylelab.load("vgg19-mini")
content, style = (stylelab.load_image(name) for name in ("../photo.png", "../painting.png"))
for seed in (1, 2):
    result = stylelab.transfer(network, content, style, init="noise", seed=seed, steps=STEPS)
    stylelab.save_image(result.images, f"{seed}.png", bits=16)
"""


class Run:
    """A command that is killed until it ends well, and the images that it ends with."""

    def __init__(self, name: str, command: list[str], images: list[str]) -> None:
        self.name, self.command, self.images = name, [sys.executable, *command], images
        self.seconds = 0.0  # that it takes when nobody disturbs it

    def once(
        self,
        folder: Path,
        blow: signal.Signals | None = None,
        after: float = 0.0,
        more: Sequence[str] = (),
    ) -> int:
        """Start it, after so many seconds send it a signal, and return its exit code."""
        with open(folder / "said", "a", encoding="utf-8") as said:
            process = subprocess.Popen(
                [*self.command, *more],
                cwd=folder,
                stdout=said,
                stderr=said,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        try:
            process.wait(after if blow else 600)
        except subprocess.TimeoutExpired:
            process.send_signal(blow or signal.SIGKILL)
        return process.wait(120)

    def made(self, folder: Path) -> torch.Tensor:
        return torch.cat([load_image(folder / image) for image in self.images])


def prepare(folder: Path, steps: int) -> None:
    """Two images and a notebook."""
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
    """Kill, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=50, help="signals that hit (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--steps", type=int, default=400, help="of each run (default: 400)")
    options = parser.parse_args()
    dice, steps = random.Random(options.seed), options.steps
    asked = ["photo.png", "painting.png", "-o", "out.png", "--bits", "16", "--size", "32"]
    asked += ["--steps", str(steps), "--checkpoint", "run.safetensors"]
    transfer = Run("transfer", ["-c", OFTEN, "transfer", *asked], ["out.png"])
    names = ["--notebooks", "notebooks", "--output", "out", "--checkpoint"]
    figures = Run("figures", ["-m", "stylelab", "figures", *names], ["out/1.png", "out/2.png"])
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
                    blow = dice.choice((signal.SIGTERM, signal.SIGKILL)) if hits < kills else None
                    before = len(list(folder.rglob("*.safetensors")))
                    code = run.once(folder, blow, dice.uniform(0.2, 1.0) * run.seconds)
                    hits += code != 0
                    resumed += code != 0 and before > 0
                    if code:
                        total[blow.name if blow else "none"] += 1
                    if code not in (0, 130, -signal.SIGTERM, -signal.SIGKILL):
                        print((folder / "said").read_text(encoding="utf-8"))
                        raise SystemExit(f"{run.name} ended with exit code {code}")
                if not torch.equal(run.made(folder), expected):
                    raise SystemExit(f"{run.name}: after {hits} kills the image is another")
                left = [p.name for p in folder.rglob("*") if "safetensors" in p.name]
                if left:
                    raise SystemExit(f"{run.name} ended well and left {', '.join(left)} behind")
                ended += 1
                print(f"{run.name}: {hits} of {kills} kills, {ended} runs ended", flush=True)
    how = ", ".join(f"{count} {name}" for name, count in total.items())
    print(f"survived {sum(total.values())} kills ({how}), {resumed} of them of resumed runs;")
    print(f"{ended} runs ended, each with the same image bit for bit")


if __name__ == "__main__":
    main()
