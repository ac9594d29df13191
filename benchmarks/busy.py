"""Transfers, a session of the playground and notebooks beside other work: how threads wait matters.

Each run is a process of its own, since OpenMP reads its settings once. `python -m benchmarks busy`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylelab.engine.threads import CHOICES

ROOT = Path(__file__).parents[1]
# GNU's own waiting (its default, which stylelab leaves alone when it is set), stylelab's choice,
# and one thread, which waits for no other.
WAITS = {
    "default": {"GOMP_SPINCOUNT": "300000"},
    "stylelab": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BEGIN = """
import json, sys, time
import stylelab
from stylelab import gallery
size, steps = map(int, sys.argv[1:])
network = stylelab.load("vgg19-mini")
pair = [gallery.open(name, size) for name in ("pagoda", "swirling_night")]
stylelab.transfer(network, *pair, steps=2, progress=False)
began = time.perf_counter()
"""
END = "print(json.dumps(time.perf_counter() - began))"
WORK = {
    "transfer": "stylelab.transfer(network, *pair, steps=steps, progress=False)\n",
    "session": """
from stylelab.app.session import Session
from stylelab.runs.settings import Settings
run = Session(*pair, Settings(size=size, steps=steps), network=network, device="cpu")
run.start()
while not (now := run.wait(timeout=0.25)).over:  # the page looks at it as often
    now.best
""",
}


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Meanwhile so many processes compute without end."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def busy(work: str, size: int, repeats: int, steps: int) -> dict:
    """Seconds of some work by how threads wait, on a free machine and beside one busy core.

    Repeats are interleaved, so that other work of the machine falls on all alike.

    Args:
        work: "transfer"; "session", one of the playground's; or "notebooks", two of them at once.
    """
    unset = {name: value for name, value in os.environ.items() if name not in CHOICES}
    unset.pop("OMP_NUM_THREADS", None)
    seconds = {load: {name: [] for name in WAITS} for load in ("free", "busy")}
    for _ in range(repeats):
        for load, found in seconds.items():
            with busy_cores(load == "busy"):
                for name, variables in WAITS.items():
                    found[name].append(_run(work, size, steps, unset | variables))
    return {"size": size, "steps": steps, "seconds": seconds}


def _run(work: str, size: int, steps: int, environment: dict[str, str]) -> float:
    if work != "notebooks":
        command = [sys.executable, "-c", BEGIN + WORK[work] + END, str(size), str(steps)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
        )
        return json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stylelab.cli", "figures", "05", "07", "--jobs", "2"]
        command += ["--size", str(size), "--steps", str(steps), "--output", folder]
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return time.perf_counter() - began
