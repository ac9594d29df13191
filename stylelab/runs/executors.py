"""Where jobs run: here, in processes of this computer, or on a Dask cluster.

All three are a `concurrent.futures.Executor`, and any other will do. Dask is imported only for a
cluster.
"""

import gc
import json
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from stylelab.errors import SettingError, StylelabError
from stylelab.runs.terminal import tell

LOCAL = "local"  # in place of a scheduler's address: a Dask cluster on this computer
PATIENCE = 30.0  # seconds that an interrupted process is given to end its kernel
CARRYING = {  # Dask's configuration, for jobs that carry photographs
    "distributed.admin.large-graph-warning-threshold": "1 GiB",
    "distributed.admin.low-level-log-length": 1,  # or the last thousand stay in memory
}
AHEAD = 200  # jobs at a scheduler at one time, twice as many as workers that want one


@dataclass(frozen=True)
class Workers:
    """An executor, and how it is used.

    Attributes:
        executor: what runs the jobs.
        at_once: how many jobs it is given before the first of them is done.
        is_here: whether it works in this process, or in others that share its files.
    """

    executor: Executor
    at_once: int = AHEAD
    is_here: bool = False

    def interrupt(self) -> None:
        """End what is running, if that is possible."""
        if isinstance(self.executor, Processes):
            self.executor.interrupt()


@contextmanager
def workers(
    count: int,
    *,
    scheduler: str | Executor | None = None,
    resources: Mapping[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Workers]:
    """Workers for jobs; at the end they are gone, or their cluster is left as it was.

    Args:
        count: how many at the same time on this computer; a scheduler has workers of its own.
        scheduler: the address of a Dask scheduler, such as "tcp://HOST:8786", the JSON file that it
            wrote it to, or "local"; or any executor whose workers may be elsewhere.
        resources: what a worker must offer to be given a job, such as {"GPU": 1}.
        environment: variables of the processes of this computer.

    Raises:
        StylelabError: if the scheduler does not answer, or Dask is not installed.
    """
    if isinstance(scheduler, Executor):
        yield Workers(scheduler)
    elif scheduler is not None:
        with _dask(scheduler, dict(resources or {}), count) as executor:
            yield Workers(executor)
    elif resources:
        raise SettingError("--resources are those of a scheduler's workers: give --scheduler, too")
    elif count > 1:
        with Processes(count, environment or {}) as executor:
            yield Workers(executor, count, is_here=True)
    else:
        yield Workers(Here(), 1, is_here=True)


class Here(Executor):
    """Runs each job in this process, when it is submitted."""

    def submit(self, work: Callable, /, *given: Any, **named: Any) -> Future:
        """The future of a job that is done."""
        future: Future = Future()
        try:
            future.set_result(work(*given, **named))
        except Exception as error:
            future.set_exception(error)
        return future


class Processes(Executor):
    """Processes of this computer. One that dies fails the job that it had, and no other.

    Each is a fresh interpreter, because a fork would lose threads. None of them outlives this one.
    """

    def __init__(self, count: int, environment: Mapping[str, str]) -> None:
        self._threads, self._own = ThreadPoolExecutor(count), threading.local()
        self._context, self._environment = _Remembering(), dict(environment)

    def submit(self, work: Callable, /, *given: Any, **named: Any) -> Future:
        """The future of a job for the next process that is free."""
        return self._threads.submit(self._run, work, given, named)

    def _run(self, work: Callable, given: tuple, named: dict) -> Any:
        if getattr(self._own, "pool", None) is None:
            begin = {"initializer": _begin, "initargs": (self._environment,)}
            self._own.pool = ProcessPoolExecutor(1, self._context, **begin)
        try:
            return self._own.pool.submit(_interruptible, work, given, named).result()
        except BrokenExecutor:
            self._own.pool = None
            raise

    def interrupt(self) -> None:
        """What Ctrl-C does, in each process that has a job; the others end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in filter(BaseProcess.is_alive, self._context.started):
            process.terminate()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes, those with a job too unless it is waited for."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for process in filter(BaseProcess.is_alive, self._context.started):
            process.kill()

    def __exit__(self, kind: type | None, *about: object) -> None:
        self.shutdown(wait=kind is None, cancel_futures=kind is not None)


class _Remembering(SpawnContext):
    """A context that knows the processes it started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *given: Any, **named: Any) -> BaseProcess:
        """A process, not started yet."""
        self.started.append(super().Process(*given, **named))
        return self.started[-1]


def _begin(environment: Mapping[str, str]) -> None:
    """What a process does first."""
    os.environ.update(environment)
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal reaches the parent alone, which then ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)  # for a kernel to end
    os._exit(1)


def _interruptible(work: Callable, given: tuple, named: dict) -> Any:
    """Do the work; meanwhile SIGTERM acts as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work(*given, **named)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _dask(scheduler: str, resources: dict[str, float], count: int) -> Iterator[Executor]:
    """A Dask cluster's executor."""
    import logging

    try:
        import dask
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise StylelabError("--scheduler needs Dask: pip install 'stylelab[cluster]'") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters we say in one line
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CARRYING))
        where: Any = scheduler
        if scheduler.endswith(".json"):
            where = _address_in(scheduler)
        if scheduler == LOCAL:
            one_each = {"n_workers": count, "threads_per_worker": 1, "resources": resources}
            where = stack.enter_context(LocalCluster(**one_each, memory_limit=0))
        reason, client = "", None
        try:
            client = stack.enter_context(Client(where, timeout="10s", set_as_default=False))
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
        if client is None:
            gc.collect()  # a client that failed: collected while another starts, it hangs
            raise StylelabError(
                f"no Dask scheduler answers at {scheduler} ({reason}); start one with dask "
                "scheduler, or leave out --scheduler"
            )
        if not _offered(client, resources):
            asked = " with " + " ".join(f"{n}={v:g}" for n, v in resources.items())
            lacking = asked if resources else ""
            tell(f"stylelab: {scheduler} has no worker{lacking} yet; waiting for one")
        wanted = {"resources": resources} if resources else {}
        executor = client.get_executor(pure=False, **wanted)
        try:
            yield executor
        finally:
            with suppress(Exception):  # of a scheduler that is gone
                executor.shutdown(wait=False)


def _address_in(file: str) -> str:
    """The address in the file that `dask scheduler --scheduler-file` writes."""
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StylelabError(f"{file} is not there, or not a scheduler's file") from None


def _offered(client: Any, resources: Mapping[str, float]) -> bool:
    """Whether a worker of Dask's `client` offers all of the resources."""
    there = client.scheduler_info(n_workers=-1)["workers"].values()
    offers = [each.get("resources", {}) for each in there]
    return any(all(has.get(n, 0) >= v for n, v in resources.items()) for has in offers)


def worker_name() -> str:
    """This process, as messages and records name it."""
    return f"{platform.node()}:{os.getpid()}"
