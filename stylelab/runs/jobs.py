"""Running notebooks one after the other or several at once; each ends with an `Outcome`."""

import ctypes
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from stylelab.runs import uptodate

WORKER = "from stylelab.runs.jobs import work; work()"
PATIENCE = 30.0  # seconds that interrupted workers are given to end their kernels
CHECKPOINTS = "STYLELAB_CHECKPOINTS"  # a folder, for `stylelab.engine.checkpoint`


@dataclass(frozen=True)
class Job:
    """A notebook to run with these parameters in `folder`, where the executed one is saved.

    `fingerprint` is that of `stylelab.runs.uptodate`. With `checkpoint` an interrupted run of the
    same job continues where its optimisations stood.
    """

    notebook: Path
    folder: Path
    parameters: Mapping[str, object]
    fingerprint: str = ""
    checkpoint: bool = False

    @property
    def executed(self) -> Path:
        """The executed notebook."""
        return self.folder / self.notebook.name

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints, until it has run to its end."""
        return self.folder.resolve() / ".stylelab" / "checkpoints" / self.notebook.stem


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes:
        name: the notebook's name.
        path: the executed notebook, kept whatever happened.
        seconds: how long it took.
        error: the failing cell and its error, or what else went wrong; empty if nothing did.
        interrupted: whether it was stopped with Ctrl-C.
        up_to_date: whether it was left as it is, since nothing had changed.
        files: what it saved, as far as `stylelab.figures.records` was told.
    """

    name: str
    path: Path
    seconds: float
    error: str = ""
    interrupted: bool = False
    up_to_date: bool = False
    files: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the notebook ran to its end, now or before."""
        return not self.error and not self.interrupted


def scratch_of(folder: Path) -> Path:
    """The folder for temporary files of a run in `folder`; the next run removes what is left."""
    return folder.resolve() / ".stylelab" / "running"


def seconds_between_draws() -> float:
    """How often a progress bar is drawn: often in a terminal, rarely in a log."""
    return 0.1 if sys.stderr is not None and sys.stderr.isatty() else 10.0


def end_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: on Linux, the child is killed as soon as its parent ends, however it ends.

    Elsewhere workers notice that their standard input is closed, and kernels look every second.
    """
    if sys.platform != "linux":
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGKILL)


def run_one(job: Job, progress: bool = True) -> Outcome:
    """Run one notebook in this process; its `Outcome` says what went wrong."""
    from stylelab.figures import records  # brings PyTorch
    from stylelab.runs import execute  # of the notebooks extra

    error, interrupted, files, began = "", False, (), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch_of(job.folder)) as scratch:
        notes = Path(scratch, "files")
        environment = {records.NOTES: str(notes)}
        if job.checkpoint:
            environment[CHECKPOINTS] = str(job.checkpoints / job.fingerprint[:16])
        try:
            uptodate.forget(job.executed)
            execute.execute(
                job.notebook,
                job.executed,
                job.parameters,
                cwd=job.folder,
                progress=progress,
                environment=environment,
            )
            files = records.noted(notes)
            shutil.rmtree(job.checkpoints, ignore_errors=True)
        except KeyboardInterrupt:
            interrupted = True
        except Exception as problem:  # the other notebooks still run
            error = _describe(problem)
    seconds = time.perf_counter() - began
    return Outcome(
        job.notebook.stem, job.executed, seconds, error, interrupted=interrupted, files=files
    )


def run_in_turn(
    jobs: Sequence[Job], done: Callable[[Job, Outcome], None], progress: bool = True
) -> None:
    """Run notebooks one after the other, up to the first that is interrupted."""
    for job in jobs:
        outcome = run_one(job, progress)
        done(job, outcome)
        if outcome.interrupted:
            break


# Papermill changes the working directory, nbclient runs an event loop, and Ctrl-C reaches only the
# main thread, so each notebook has a process of its own. It is a fresh interpreter, because a fork
# would lose threads. If it dies, when memory is short for instance, the others still run.


def run_at_once(
    jobs: Sequence[Job],
    count: int,
    done: Callable[[Job, Outcome], None],
    *,
    environment: Mapping[str, str],
    progress: bool = True,
) -> None:
    """Run notebooks, up to `count` at the same time, each in a process with a kernel of its own.

    Ctrl-C ends all that are running, their kernels too, and the others do not start.

    Args:
        done: called with each job and its `Outcome` as it comes.
        environment: variables of those processes, on top of this one's.
        progress: show a bar of the notebooks done.
    """
    waiting, running = list(jobs), []
    bar = tqdm(
        total=len(jobs),
        desc="notebooks",
        unit="notebook",
        leave=False,
        dynamic_ncols=True,
        disable=not progress,
        mininterval=seconds_between_draws(),
    )
    with bar:
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    running.append(_Worker(waiting.pop(0), environment))
                for worker in [worker for worker in running if worker.has_ended()]:
                    running.remove(worker)
                    done(worker.job, worker.outcome())
                    bar.update()
                time.sleep(0.05)
        except KeyboardInterrupt:
            for worker in running:
                worker.interrupt()
            end = time.monotonic() + PATIENCE
            while any(not worker.has_ended() for worker in running) and time.monotonic() < end:
                time.sleep(0.05)
            for worker in running:
                done(worker.job, worker.outcome())
        finally:
            for worker in running:
                worker.process.kill()  # a second Ctrl-C, or patience is at its end
                worker.process.wait()


class _Worker:
    """A process that runs one notebook, for as long as its standard input is open.

    So it ends with this process, however that ends. It has a session of its own, so that Ctrl-C in
    a terminal reaches only this process.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job, self.interrupted, self.began = job, False, time.perf_counter()
        self.files = files = scratch_of(job.folder) / job.notebook.name
        files.with_suffix(".job").write_bytes(pickle.dumps(job))
        with files.with_suffix(".log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", WORKER, str(files)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | dict(environment),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def interrupt(self) -> None:
        self.interrupted = True
        with suppress(OSError):
            self.process.stdin.close()

    def outcome(self) -> Outcome:
        """The outcome that it reported, or one that says how its process ended."""
        with suppress(OSError):
            self.process.stdin.close()
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            return pickle.loads(self.files.with_suffix(".outcome").read_bytes())  # noqa: S301
        error = ""
        if not self.interrupted:
            log = self.files.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
            last = "\n".join(log.strip().splitlines()[-12:])
            error = f"its process ended with exit code {self.process.returncode}\n{last}".strip()
        seconds = time.perf_counter() - self.began
        return Outcome(
            self.job.notebook.stem, self.job.executed, seconds, error, interrupted=self.interrupted
        )


def work() -> None:
    """What a worker does: run the notebook of NAME.job, and write NAME.outcome."""
    files = Path(sys.argv[1])
    threading.Thread(target=_interrupt_when_left, daemon=True).start()
    job = pickle.loads(files.with_suffix(".job").read_bytes())  # noqa: S301 (our own)
    outcome = run_one(job, progress=False)
    files.with_suffix(".outcome").write_bytes(pickle.dumps(outcome))


def _interrupt_when_left() -> None:
    """Wait until standard input is closed, then act as Ctrl-C does."""
    os.read(sys.stdin.fileno(), 1)  # a buffered read would hold a lock that Python needs to exit
    if hasattr(signal, "pthread_kill"):  # wakes the main thread where it waits
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        interrupt_main()


def _describe(problem: Exception) -> str:
    """A failed cell's source and the end of its traceback, or the problem itself."""
    if not hasattr(problem, "traceback"):
        return f"{type(problem).__name__}: {problem}"
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(problem.traceback)).strip().splitlines()
    source = textwrap.indent(problem.source.strip(), "    ")
    return f"cell [{problem.exec_count}]:\n\n{source}\n\n" + "\n".join(trace[-12:])
