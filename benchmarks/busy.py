"""A transfer beside other work: how its threads wait decides how long it takes.

Each run is a process of its own, since OpenMP reads its settings once. `python -m benchmarks busy`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stylelab.engine.threads import CHOICES

# How threads wait is decided by the first import: the libraries' own way, or stylelab's choice.
WAITS = {
    "default": ("torch, stylelab", {}),
    "stylelab": ("stylelab, torch", {}),
    "one thread": ("torch, stylelab", {"OMP_NUM_THREADS": "1"}),
}
WORK = """
import json, sys, time
import IMPORTS
from stylelab import gallery
size, steps = map(int, sys.argv[1:])
network = stylelab.load("vgg19-mini")
pair = [gallery.open(name, size) for name in ("pagoda", "swirling_night")]
stylelab.transfer(network, *pair, steps=2, progress=False)
began = time.perf_counter()
stylelab.transfer(network, *pair, steps=steps, progress=False)
print(json.dumps(time.perf_counter() - began))
"""


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


def busy(size: int, repeats: int, steps: int) -> dict:
    """Seconds of a transfer by how threads wait, on a free machine and beside one busy core.

    Repeats are interleaved, so that other work of the machine falls on all alike.
    """
    unset = {name: value for name, value in os.environ.items() if name not in CHOICES}
    unset.pop("OMP_NUM_THREADS", None)
    seconds = {load: {name: [] for name in WAITS} for load in ("free", "busy")}
    for _ in range(repeats):
        for load, found in seconds.items():
            with busy_cores(load == "busy"):
                for name, (imports, variables) in WAITS.items():
                    work = WORK.replace("IMPORTS", imports)
                    command = [sys.executable, "-c", work, str(size), str(steps)]
                    done = subprocess.run(
                        command, env=unset | variables, check=True, stdout=subprocess.PIPE
                    )
                    found[name].append(json.loads(done.stdout))
    return {"size": size, "steps": steps, "seconds": seconds}
