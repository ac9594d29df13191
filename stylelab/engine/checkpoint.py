"""Where optimisations stand, in one file, from which a later process goes on as this one would.

A checkpoint follows the optimisations of one call in their order: `transfer` makes one for each of
its levels. Of those that are done it has the best images and the losses; of the one under way all
that `stylelab.lbfgs` knows, which is 42 times the images, or 126 MB for one of 512 x 512. The file
is written anew every few seconds, appears whole or not at all, and holds tensors, no code. On the
same CPU, with the same number of threads, what comes of it is the same bit for bit.
"""

import hashlib
import json
import os
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from tqdm.auto import tqdm

from stylelab.engine.fingerprint import OPAQUE, fingerprint
from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import atomic
from stylelab.files.text import printable
from stylelab.lbfgs import State
from stylelab.objective import Objective

SECONDS = 10.0  # from one writing to the next
SHARE = 0.05  # of the time, which writing large checkpoints on slow disks may take at most
VARIABLE = "STYLELAB_CHECKPOINTS"  # a folder for checkpoints of all optimisations nobody named one
HEADER = "stylelab checkpoint"


@dataclass
class _Part:
    """One optimisation: what it is, the seconds it took so far, and its tensors.

    These are "best", "history TERM" with a row for each step, and "state NAME" unless it is done.
    """

    fingerprint: dict[str, str]
    seconds: float
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class _Past:
    """A step that an earlier process did: what is still known of its state."""

    step: int
    terms: dict[str, Tensor]
    best: Tensor


class Checkpoint:
    """A checkpoint's file, for one call of `transfer` or of a reconstruction, or several in order.

    The file stays until `remove`: call it when the images are saved. Until then the same calls
    return what the file has, without doing the work again.

    Args:
        path: the file; missing folders are made.
        seconds: from one writing to the next, `SECONDS` when None; 0 writes after every step.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float | None = None) -> None:
        self.path, self.seconds = Path(path), SECONDS if seconds is None else seconds
        self.parts: list[_Part] | None = None  # not read yet
        self.calls = 0

    def follow(self, objective: Objective, start: Tensor, steps: int) -> "Followed":
        """The next optimisation of this process, and what the file knows of it.

        Raises:
            SettingError: if the file is of another run.
            StylelabError: if the file is damaged, or no checkpoint.
        """
        if self.parts is None:
            self._sweep()
            self.parts = self._read()
        index, now = self.calls, fingerprint(objective, start, steps)
        self.calls += 1
        if index < len(self.parts):
            self._check_same(self.parts[index].fingerprint, now)
        else:
            self.parts = [*self.parts, _Part(now, 0.0, {})]
        return Followed(self, self.parts[index], steps, start.device)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def write(self) -> None:
        """Write all parts; StylelabError if that fails, the file then being as it was."""
        arrays = {
            f"{index} {name}": tensor.detach().cpu().contiguous().numpy()
            for index, part in enumerate(self.parts)
            for name, tensor in part.tensors.items()
        }
        about = [{"fingerprint": p.fingerprint, "seconds": p.seconds} for p in self.parts]
        header = json.dumps({"parts": about, "crc32": _crc32(arrays)})
        with atomic(self.path) as temporary:
            try:
                save_file(arrays, temporary, {HEADER: header})
            except SafetensorError as error:  # as it calls what the file system refused
                raise OSError(str(error)) from error
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())

    def _read(self) -> list[_Part]:
        if not self.path.exists():
            return []
        try:
            with safe_open(self.path, "pt") as file:
                header = json.loads(file.metadata()[HEADER])
                # Copies: results depend, to the last bit, on how tensors are aligned in memory.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            if _crc32(arrays) != header["crc32"]:
                raise ValueError("its checksum is wrong")
            parts = [_Part(p["fingerprint"], p["seconds"], {}) for p in header["parts"]]
            for name, tensor in tensors.items():
                index, _, rest = name.partition(" ")
                parts[int(index)].tensors[rest] = tensor
        except (LookupError, OSError, TypeError, ValueError, SafetensorError) as error:
            raise StylelabError(
                f"{self.path} cannot be read as a checkpoint ({type(error).__name__}): it is "
                "damaged, or another file; delete it to begin anew, or name another"
            ) from error
        return parts

    def _check_same(self, there: Mapping[str, str], here: Mapping[str, str]) -> None:
        differing = []
        for name in [*here, *(name for name in there if name not in here)]:
            old, new = there.get(name, "none"), here.get(name, "none")
            if old != new:
                opaque = OPAQUE in old + new
                differing.append(name if opaque else f"{name} ({old} there, {new} here)")
        if differing:
            raise SettingError(
                f"the checkpoint {self.path} is of another run; what differs: "
                f"{', '.join(differing)}. Delete it to begin anew, or name another"
            )

    def _sweep(self) -> None:
        """Remove what `atomic` could not: files half written when a process was killed."""
        stem, suffix = re.escape(self.path.stem[:40]), re.escape(self.path.suffix)
        with suppress(OSError):
            for path in self.path.parent.glob(".*"):
                if re.fullmatch(rf"\.{stem}-[0-9a-f]{{32}}{suffix}", path.name):
                    path.unlink()


class Followed:
    """One optimisation that a checkpoint follows; without a checkpoint, one that nobody follows.

    Attributes:
        resume: the snapshot to go on from, None to begin at the start.
        seconds: what earlier processes took.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        part: _Part | None = None,
        steps: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.checkpoint, self.part, self.steps = checkpoint, part, steps
        found = {name: tensor.to(device) for name, tensor in part.tensors.items()} if part else {}
        self.history, state = _named("history ", found), _named("state ", found)
        self.resume = state or None
        self.seconds, self.began = part.seconds if part else 0.0, time.perf_counter()
        self.due, self.failing = self.began + (checkpoint.seconds if checkpoint else 0), False

    def states(self, states: Iterable[State]) -> Iterator[State | _Past]:
        """The steps of earlier processes, then `states`, which are kept every few seconds.

        Args:
            states: what `lbfgs` yields from `resume` on.

        Raises:
            StylelabError: if the first checkpoint cannot be written. Of later ones that is only
                said: what was written before stays, and the work goes on.
        """
        if self.checkpoint is None:
            yield from states
            return
        history, is_new = self.history, not self.part.tensors
        rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
        if self.resume:
            rows.pop()  # it comes as the first of `states`
        for step, terms in enumerate(rows):
            yield _Past(step, terms, self.part.tensors["best"])
        if not is_new and not self.resume:  # it is done
            return
        for state in states:
            self.part.tensors, self.resume = {}, None  # large, and used now
            rows.append(state.terms)
            if is_new or state.step == self.steps or time.perf_counter() >= self.due:
                self._keep(state, rows, is_new)
                is_new = False
            yield state

    def _keep(self, state: State, rows: list[dict[str, Tensor]], is_new: bool) -> None:
        """Write where the optimisation stands at `state`."""
        before = time.perf_counter()
        kept = {f"history {name}": torch.stack([row[name] for row in rows]) for name in rows[0]}
        kept["best"] = state.best
        if state.step < self.steps:
            kept |= {f"state {name}": tensor for name, tensor in state.snapshot().items()}
        self.part.tensors, self.part.seconds = kept, self.seconds + before - self.began
        try:
            self.checkpoint.write()
            self.failing = False
        except StylelabError as error:
            if is_new:
                raise
            if not self.failing:
                said = f"stylelab: {error}; the work goes on, and the last checkpoint is as it was"
                tqdm.write(printable(said), file=sys.stderr)
            self.failing = True
        now, seconds = time.perf_counter(), self.checkpoint.seconds
        self.due = now + (seconds and max(seconds, (now - before) / SHARE))


Place = Checkpoint | str | os.PathLike[str] | None  # how a caller names a checkpoint


def at(place: Place) -> Checkpoint | None:
    """The checkpoint at `place`; None for None."""
    return place if place is None or isinstance(place, Checkpoint) else Checkpoint(place)


def follow(place: Place, objective: object, start: Tensor, steps: int) -> Followed:
    """An optimisation as the checkpoint at `place` follows it.

    Without a place, one in the folder that the environment variable STYLELAB_CHECKPOINTS names, if
    it does; there each optimisation has a file of its own.

    Raises:
        SettingError: if the checkpoint is of another run, or `objective` of a kind not known here.
        StylelabError: if the checkpoint is damaged.
    """
    known, folder = type(objective) is Objective, os.environ.get(VARIABLE)
    if place is None and folder and known:
        text = json.dumps(fingerprint(objective, start, steps), sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        place = Path(folder, f"{name}.safetensors")
    if place is None:
        return Followed()
    if not known:
        kind = type(objective).__name__
        raise SettingError(f"checkpoint needs a stylelab Objective to recognise, got {kind}")
    return at(place).follow(objective, start, steps)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `tensors` whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _crc32(arrays: Mapping[str, object]) -> int:
    """A checksum of arrays and their names, in whatever order they come."""
    total = 0
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.tobytes() if array.ndim == 0 else array, total)
    return total
