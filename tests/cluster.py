"""A Dask cluster for tests: processes that share neither a working folder nor a cache."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toys import until


class Cluster:
    """A scheduler and its workers, each with a folder of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, []
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "scheduler.json"
        options = ["--scheduler-file", str(self.file), "--port", "0", "--host", "127.0.0.1"]
        self.scheduler = self._start("scheduler", [*options, "--no-dashboard"])
        until(lambda: self.file.exists() and self.file.stat().st_size)

    @property
    def address(self) -> str:
        """The scheduler's."""
        return json.loads(self.file.read_text())["address"]

    def add(self, options: Sequence[str] = (), **environment: str) -> subprocess.Popen:
        """Start a worker."""
        name = f"worker{len(self.workers)}"
        home = self.folder / name
        (home / "tmp").mkdir(parents=True)
        own = {"STYLELAB_CACHE": str(home / "cache"), "TMPDIR": str(home / "tmp")} | environment
        given = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(home)]
        place = ["--scheduler-file", str(self.file)]
        self.workers.append(self._start("worker", [*place, *given, *options], home, own))
        return self.workers[-1]

    def _start(
        self,
        kind: str,
        options: Sequence[str],
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen:
        folder = folder or self.folder
        tests = Path(__file__).parent
        places = (str(tests.parent), str(tests), os.environ.get("PYTHONPATH", ""))
        paths = os.pathsep.join(filter(None, places))
        with open(folder / f"{kind}.log", "w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", kind, *options],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": paths} | (environment or {}),
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGTERM)
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running(folder: Path, workers: int = 0) -> Iterator[Cluster]:
    """A cluster that is gone at the end."""
    cluster = Cluster(folder)
    try:
        for _ in range(workers):
            cluster.add()
        yield cluster
    finally:
        cluster.stop()
