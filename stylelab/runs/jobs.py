"""Running notebooks, here or on workers; each ends with an `Outcome`.

Papermill changes the working directory, nbclient runs an event loop, and Ctrl-C reaches only the
main thread, so notebooks that run at the same time have a process each.
"""

import re
import textwrap
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from stylelab.errors import StylelabError
from stylelab.files.local import atomic
from stylelab.runs import collect, terminal
from stylelab.runs.collect import check_file
from stylelab.runs.executors import Workers


@dataclass(frozen=True)
class Job:
    """A notebook to run with these parameters; its kernel works in the folder of `executed`.

    Attributes:
        executed: where the executed notebook is saved.
        environment: variables of its kernel, on top of this process's own.
        weights: the SHA-256 of the network's file, if the network is a file.
    """

    notebook: Path
    executed: Path
    parameters: Mapping[str, object]
    environment: Mapping[str, str]
    weights: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes:
        name: the notebook's name.
        path: the executed notebook, kept whatever happened.
        seconds: how long it took, if it ran.
        error: the failing cell and its error, or what else went wrong; empty if nothing did.
        interrupted: whether it was stopped with Ctrl-C.
        up_to_date: whether it was left as it is, since nothing had changed.
        made: the files that a worker elsewhere sent.
    """

    name: str
    path: Path
    seconds: float = 0.0
    error: str = ""
    interrupted: bool = False
    up_to_date: bool = False
    made: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the notebook ran to its end, now or before."""
        return not self.error and not self.interrupted


def run_one(job: Job, progress: bool) -> Outcome:
    """Run one notebook in this process; its `Outcome` says what went wrong."""
    from stylelab.runs import execute  # of the notebooks extra

    began = time.perf_counter()
    try:
        execute.execute(job, progress)
        return _outcome(job, began)
    except KeyboardInterrupt:
        return _outcome(job, began, interrupted=True)
    except Exception as problem:  # the other notebooks still run
        return _outcome(job, began, _describe(problem))


def run(jobs: Sequence[Job], workers: Workers, progress: bool = True) -> Iterator[Outcome]:
    """Run notebooks and yield each outcome as it comes.

    Ctrl-C ends all that are running on this computer, their kernels too, and no others start.

    Raises:
        NoWorkers: if a worker would give other results, or the scheduler is gone.
    """
    alone = workers.is_here and workers.at_once == 1  # then a notebook shows its own progress
    settings = {"desc": "notebooks", "unit": "notebook", **terminal.bar_settings()}

    def call(job: Job) -> collect.Call:
        if workers.is_here:
            return run_one, (job, progress and alone)
        return run_away, (job, job.notebook.read_bytes())

    with tqdm(total=len(jobs), disable=alone or not progress, **settings) as bar:
        began = time.perf_counter()
        with suppress(KeyboardInterrupt):
            waiting = deque(jobs)
            for job, future in collect.collect(workers, waiting, call):
                outcome = _outcome_of(job, future, began)
                yield outcome
                if outcome.interrupted and alone:
                    return
                bar.update()


def run_away(job: Job, notebook: bytes) -> tuple[Outcome, dict[str, bytes]]:
    """Run a notebook that is given as bytes, in a folder that is gone afterwards.

    For workers that share no file system with the run: its kernel finds the cache and the package
    of the worker. Returns the outcome, and all that the notebook left in its folder, by name.
    """
    from stylelab.figures import records
    from stylelab.runs.notebooks import kernel_environment

    if job.weights:
        check_file(str(job.parameters["network"]), job.weights)
    with TemporaryDirectory(prefix="stylelab-") as scratch:
        given, folder = Path(scratch, job.notebook.name), Path(scratch, "out")
        folder.mkdir()
        given.write_bytes(notebook)
        environment = {**kernel_environment(), **job.environment}
        environment[records.NOTES] = str(Path(scratch, "notes"))
        away = replace(
            job, notebook=given, executed=folder / job.executed.name, environment=environment
        )
        outcome = replace(run_one(away, progress=False), path=job.executed)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return outcome, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _outcome_of(job: Job, future: collect.Future, began: float) -> Outcome:
    """The outcome of a notebook, whose files are then where they belong."""
    if future.cancelled() or not future.done():
        return _outcome(job, began, interrupted=True)
    try:
        found = collect.outcome(future)
        if isinstance(found, Outcome):
            return found
        outcome, files = found
        folder = job.executed.parent.resolve()
        for name, content in files.items():
            place = (folder / name).resolve()
            if not place.is_relative_to(folder):
                raise StylelabError(f"a worker sent a file named {name!r}, which was not saved")
            with atomic(place) as path:
                path.write_bytes(content)
        return replace(outcome, made=tuple(folder / name for name in files))
    except collect.NoWorkers:
        raise
    except StylelabError as error:
        return _outcome(job, began, str(error))


def _outcome(job: Job, began: float, error: str = "", interrupted: bool = False) -> Outcome:
    seconds = time.perf_counter() - began
    return Outcome(job.notebook.stem, job.executed, seconds, error, interrupted)


def _describe(problem: Exception) -> str:
    """A failed cell's source and the end of its traceback, or the problem itself."""
    if not hasattr(problem, "traceback"):
        return f"{type(problem).__name__}: {problem}"
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(problem.traceback)).strip().splitlines()
    source = textwrap.indent(problem.source.strip(), "    ")
    return f"cell [{problem.exec_count}]:\n\n{source}\n\n" + "\n".join(trace[-12:])
