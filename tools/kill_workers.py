"""Many tiny pictures on a Dask cluster, undisturbed and with workers killed at random.

    python tools/kill_workers.py --pictures 600 --workers 2 --kills 6

A scheduler and workers start on this computer, each in a process of its own. The pictures are of
the smoke profile's size, 64 pixels, from white noise with a seed each. They are made
twice. The second time workers are killed with SIGKILL at random moments, a third of them each time,
and one of the blows is for good: Dask's watchman of the worker, which would start it again, dies
too. Then the table must be complete, and each picture equal to the undisturbed one, byte for byte.
The exit code is 1 if not. It prints the overhead per picture, the scheduler's memory, and how many
pictures were computed more often than once. Works on Linux and macOS.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from stylelab.runs.batch.plan import Picture, combined, images_of, once
from stylelab.runs.batch.run import DONE, Ended, run_batch

ROOT = Path(__file__).resolve().parents[1]


class Count(SchedulerPlugin):
    """Counts how often the scheduler heard that a task was done, and that its worker was gone."""

    name = "count"

    def __init__(self) -> None:
        self.seen: Counter = Counter()

    def transition(self, key, start, finish, *given, **named) -> None:
        """Called by Dask."""
        self.seen[f"{start} {finish}"] += 1


class Cluster:
    """A scheduler and workers, and what is measured of them."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.peak = folder, 0
        file = folder / "scheduler.json"
        place = ["--scheduler-file", str(file)]
        self.scheduler = self._start("scheduler", [*place, "--port", "0", "--host", "127.0.0.1"])
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        alone = ["--nthreads", "1", "--local-directory"]
        self.workers = [
            self._start("worker", [*place, *alone, str(folder / f"worker{number}")])
            for number in range(workers)
        ]
        self.client = Client(self.address, set_as_default=False)
        self.client.wait_for_workers(workers)
        self.client.register_plugin(Count())

    def _start(self, kind: str, options: Sequence[str]) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", kind, *options, "--no-dashboard"]
        places = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        own = {"PYTHONPATH": os.pathsep.join(filter(None, places))}
        own["DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH"] = "1"  # as docs/scaling.md says
        with open(self.folder / "log", "a") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=os.environ | own, stdout=log, stderr=log
            )

    def computed(self) -> int:
        """How many pictures were computed so far, those that were lost afterwards too."""
        seen = self.client.run_on_scheduler(lambda dask_scheduler: _seen(dask_scheduler))
        return seen["processing memory"]

    def measure(self) -> None:
        """Keep the largest memory of the scheduler, in bytes."""
        self.peak = max(self.peak, psutil.Process(self.scheduler.pid).memory_info().rss)

    def blow(self, rng: random.Random, share: float, for_good: bool) -> int:
        """Kill some of the workers; how many."""
        living = [each for each in self.workers if each.poll() is None]
        struck = rng.sample(living, min(max(1, round(share * len(living))), len(living)))
        for watchman in struck:
            for worker in psutil.Process(watchman.pid).children(recursive=True):
                worker.send_signal(signal.SIGKILL)
            if for_good and len(living) > len(struck):
                watchman.kill()
                watchman.wait()
        return len(struck)

    def stop(self) -> None:
        """End everything."""
        self.client.close()
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _seen(scheduler) -> Counter:
    return scheduler.plugins["count"].seen


def main() -> None:
    """Run it twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pictures", type=int, default=600, help="(default: 600)")
    parser.add_argument("--workers", type=int, default=2, help="(default: 2)")
    parser.add_argument("--steps", type=int, default=5, help="of each picture (default: 5)")
    parser.add_argument("--kills", type=int, default=6, help="moments of killing (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    settings = {
        "size": [64],
        "steps": [options.steps],
        "init": ["noise"],
        "seed": range(options.pictures),
    }
    files = images_of(["pagoda"]), images_of(["swirling_night"])
    pictures = once(combined(*files, settings))
    with tempfile.TemporaryDirectory(prefix="stylelab-kill-") as scratch:
        calm, hit = Path(scratch, "calm"), Path(scratch, "hit")
        seconds = one_run(pictures, calm, options, 0)
        one_run(pictures, hit, options, options.kills, seconds)
        names = [f"pictures/{each.name}.png" for each in pictures]
        wrong = [name for name in names if (calm / name).read_bytes() != (hit / name).read_bytes()]
        shutil.rmtree(calm)
    if wrong:
        raise SystemExit(f"{len(wrong)} pictures differ, {wrong[0]} first")
    print(f"all {len(pictures)} pictures are the same byte for byte")


def one_run(
    pictures: Sequence[Picture],
    output: Path,
    options: argparse.Namespace,
    kills: int,
    expected: float = 0.0,
) -> float:
    """Make the pictures, with `kills` moments of killing in the `expected` seconds; the seconds."""
    folder = output.with_name(f"{output.name}-cluster")
    folder.mkdir()
    cluster, rng, over = Cluster(folder, options.workers), random.Random(options.seed), []
    killed = Counter()

    def disturb() -> None:
        moments = sorted(rng.uniform(0.05, 0.9) * expected for _ in range(kills))
        began = time.perf_counter()
        while not over:
            if moments and time.perf_counter() - began >= moments[0]:
                moments.pop(0)
                for_good = len(moments) == kills // 2
                killed["for good" if for_good else "and back"] += cluster.blow(rng, 1 / 3, for_good)
            cluster.measure()
            time.sleep(0.2)

    thread = threading.Thread(target=disturb)
    thread.start()
    began = time.perf_counter()
    try:
        ended = run_batch(pictures, output, scheduler=cluster.address, progress=False)
        seconds = time.perf_counter() - began
        computed = cluster.computed()
    finally:
        over.append(True)
        thread.join()
        cluster.stop()
    report(ended, output, seconds, computed, options.workers, cluster.peak, killed)
    return seconds


def report(
    ended: Sequence[Ended],
    output: Path,
    seconds: float,
    computed: int,
    workers: int,
    peak: int,
    killed: Counter,
) -> None:
    """Check that the table is complete, and print what was measured."""
    made = [each for each in ended if each.status == DONE]
    records = len(list(output.glob("pictures/*.json")))
    lines = len((output / "table.csv").read_text(encoding="utf-8").splitlines()) - 1
    if not len(made) == len(ended) == records == lines:
        raise SystemExit(
            f"of {len(ended)} pictures {len(made)} were made; {records} records, {lines} rows"
        )
    painting = sum(float(str(each.found["seconds"])) for each in made)
    blows = ", ".join(f"{count} {how}" for how, count in killed.items()) or "none"
    print(f"{len(made)} pictures, records and rows in {seconds:.1f} s; workers killed: {blows}")
    print(f"  painting {painting / len(made):.3f} s each; computed again: {computed - len(made)}")
    if not killed:
        rest = (workers * seconds - painting) / len(made)
        print(f"  all else, of {workers} workers: {1000 * rest:.0f} ms each")
    print(f"  scheduler: {peak / 1e6:.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
