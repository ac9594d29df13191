"""Giving jobs to an executor and collecting what becomes of them, each as soon as it is there."""

import hashlib
import pickle
import platform
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from stylelab.errors import StylelabError
from stylelab.files.local import sha256_of
from stylelab.runs.executors import PATIENCE, Workers, worker_name

PACKAGE = Path(__file__).resolve().parents[1]
Job = TypeVar("Job")
Call = tuple[Callable, tuple]  # a function of a module, and its arguments


class NoWorkers(StylelabError):
    """Nobody is there who could do a job, or do it right: the whole run ends."""


def collect(
    workers: Workers, waiting: deque[Job], call: Callable[[Job], Call]
) -> Iterator[tuple[Job, Future]]:
    """Do all jobs, and yield each with a future that is done; `outcome` reads it.

    Args:
        waiting: the jobs. More may be added between two that are yielded.
        call: what a job is, asked for when it is its turn, so that only some are in memory.

    Raises:
        NoWorkers: if the scheduler is gone.
        KeyboardInterrupt: on Ctrl-C, after those that were running were yielded, too; the futures
            of those that are not done were cancelled.
    """
    running: dict[Future, Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers.at_once:
                job = waiting.popleft()
                running[_submitted(workers, job, call)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                if future.cancelled():  # not by us
                    raise NoWorkers("the scheduler is gone; the same command goes on from here")
                yield running.pop(future), future
    except KeyboardInterrupt:
        workers.interrupt()
        wait([future for future in running if not future.cancel()], PATIENCE)
        for future, job in running.items():
            yield job, future
        raise


def _submitted(workers: Workers, job: Job, call: Callable[[Job], Call]) -> Future:
    """The future of a job; one that failed if it cannot even be described."""
    try:
        work, given = call(job)
    except (StylelabError, OSError) as error:
        future: Future = Future()
        future.set_exception(error)
        return future
    if workers.is_here:
        return workers.executor.submit(work, *given)
    return workers.executor.submit(do, surroundings(), pickle.dumps((work, given)))


def do(expected: dict[str, str], work: bytes) -> Any:
    """On a worker elsewhere: do the work, if it would be done as it would be where it comes from.

    Raises:
        NoWorkers: if this one has other versions.
        StylelabError: if its file system refuses.
    """
    for what, there in expected.items():
        if (here := surroundings()[what]) != there:
            raise NoWorkers(
                f"the worker {worker_name()} has {what} {here}, and this computer has {there}; "
                "install the same on both"
            )
    function, given = pickle.loads(work)  # noqa: S301 - of the scheduler, which is trusted
    try:
        return function(*given)
    except StylelabError:
        raise
    except OSError as error:
        reason = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        raise StylelabError(f"on the worker {worker_name()}: {reason}") from None


def check_file(path: str, sha256: str) -> None:
    """On a worker: StylelabError unless it has this file, at the same path."""
    if not Path(path).is_file() or sha256_of(path) != sha256:
        raise StylelabError(
            f"the worker {worker_name()} lacks {path}, or has another file there; a network that "
            "is a file must be at the same path on every worker"
        )


def outcome(future: Future) -> Any:
    """What a job returned.

    Raises:
        NoWorkers: if no job can be done there.
        StylelabError: in one line, for whatever else went wrong.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, StylelabError):
        raise error
    if isinstance(error, BrokenExecutor):
        raise StylelabError("its process died, perhaps because memory was short")
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if type(error).__name__ == "KilledWorker":  # Dask's
        raise StylelabError("the workers that had it died, one after the other")
    if "deserialization" in said or "No module named 'stylelab'" in said:
        raise NoWorkers(
            "a worker cannot read what it is sent; it needs the versions of Python, Dask and "
            f"stylelab that are here ({said[:200]})"
        )
    raise StylelabError(said)


@cache
def surroundings() -> dict[str, str]:
    """What a result depends on, beside what a job says: versions, and the package's own code."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"Python": python} | {name: version(name) for name in ("torch", "numpy", "pillow")}
    return found | {"the code of stylelab": digest.hexdigest()[:12]}
