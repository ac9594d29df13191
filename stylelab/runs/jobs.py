"""Running notebooks one after the other or several at once; each ends with an `Outcome`."""

import os
import re
import signal
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from stylelab.runs import terminal

PATIENCE = 30.0  # seconds that an interrupted worker is given to end its kernel


@dataclass(frozen=True)
class Job:
    """A notebook to run with these parameters; its kernel works in the folder of `executed`.

    Attributes:
        executed: where the executed notebook is saved.
        environment: variables of its kernel, on top of this process's own.
    """

    notebook: Path
    executed: Path
    parameters: Mapping[str, object]
    environment: Mapping[str, str]


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
    """

    name: str
    path: Path
    seconds: float = 0.0
    error: str = ""
    interrupted: bool = False
    up_to_date: bool = False

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


def run(jobs: Sequence[Job], count: int, progress: bool = True) -> Iterator[Outcome]:
    """Run notebooks, up to `count` at the same time, and yield each outcome as it comes.

    Ctrl-C ends all that are running, their kernels too, and the others do not start.
    """
    if count > 1:
        yield from _run_at_once(jobs, count, progress)
        return
    for job in jobs:
        outcome = run_one(job, progress)
        yield outcome
        if outcome.interrupted:
            return


# Papermill changes the working directory, nbclient runs an event loop, and Ctrl-C reaches only the
# main thread, so each notebook has a process of its own. It is a fresh interpreter, because a fork
# would lose threads. If it dies, when memory is short for instance, the others still run.


def _run_at_once(jobs: Sequence[Job], count: int, progress: bool) -> Iterator[Outcome]:
    waiting, running = list(jobs), []
    settings = {"desc": "notebooks", "unit": "notebook", **terminal.bar_settings()}
    with tqdm(total=len(jobs), disable=not progress, **settings) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    running.append(_Worker(waiting.pop(0)))
                ready = wait([worker.pipe for worker in running])
                for worker in [worker for worker in running if worker.pipe in ready]:
                    running.remove(worker)
                    yield worker.outcome()
                    bar.update()
        except KeyboardInterrupt:
            for worker in running:
                worker.process.terminate()  # which it takes for Ctrl-C
            for worker in running:
                worker.process.join(PATIENCE)
                worker.process.kill()
                yield worker.outcome(interrupted=True)
        finally:
            for worker in running:
                worker.process.kill()  # after a second Ctrl-C


class _Worker:
    """A process that runs one notebook and sends its outcome through `pipe`."""

    def __init__(self, job: Job) -> None:
        spawn = get_context("spawn")
        self.job, self.began = job, time.perf_counter()
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def outcome(self, interrupted: bool = False) -> Outcome:
        """The outcome that it sent, or one that says how its process ended."""
        with suppress(EOFError, OSError):
            outcome = self.pipe.recv()
            self.process.join(PATIENCE)  # while the pipe is open, see `_end_with_parent`
            return outcome
        self.process.join()
        error = f"its process ended with exit code {self.process.exitcode}"
        return _outcome(self.job, self.began, "" if interrupted else error, interrupted)


def _work(job: Job, pipe: Connection) -> None:
    """What a worker does: run the notebook, and send its outcome."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal reaches the parent alone, which then ends its workers
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    pipe.send(run_one(job, progress=False))


def _end_with_parent(pipe: Connection) -> None:
    """Wait until the other end of the pipe is closed, then end this process and its kernel."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)


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
