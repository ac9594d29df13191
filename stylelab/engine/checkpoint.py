"""A hook that keeps where an optimisation stands in a file, so that a later process can go on.

The file has everything that the optimiser resumes from: about 42 times the images for L-BFGS, four
times for Adam. It is written every few seconds, appears whole or not at all, and holds tensors, no
code. On the same CPU with the same number of threads, a resumed run ends with the same images bit
for bit.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from tqdm.auto import tqdm

from stylelab import __version__
from stylelab.engine.precision import precision_of
from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import atomic
from stylelab.files.text import printable
from stylelab.lbfgs import State
from stylelab.objective import Objective
from stylelab.optimisation import Run, optimiser_name

SECONDS = 10.0  # between one writing and the next
SHARE = 0.05  # of the time that writing large checkpoints on slow disks may take at most
FOLDER = "STYLELAB_CHECKPOINTS"  # environment variable: a folder for checkpoints of every run
HEADER, HISTORY, STATE = "stylelab checkpoint", "history ", "state "
OPAQUE = "sha256:"


class Checkpoint:
    """A hook (see `stylelab.optimisation`) that writes a checkpoint, and resumes from one.

    A call that optimises several times, as `transfer_coarse_to_fine` does, keeps the first run in
    `path` and the next ones in files beside it. The files stay until `remove`.

    Args:
        path: the file; missing folders are made.
        seconds: between one writing and the next; 0 writes after every step.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float = SECONDS) -> None:
        self.path, self.seconds, self._runs = Path(path).expanduser(), seconds, 0

    def __call__(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        """Resume `run` if the file has it, and write where it stands every few seconds.

        Raises:
            SettingError: if the file is of another run.
            StylelabError: if the file is damaged, or the first checkpoint cannot be written. When a
                later one cannot be written, a warning says so and the work goes on.
        """
        self._runs += 1
        path, began, identity = self._file(self._runs), time.perf_counter(), describe(run)
        _remove_leftovers(path)
        is_new = not path.exists()
        rows = [] if is_new else _resume(run, path, identity)
        began -= run.seconds
        due, failing = time.perf_counter() + self.seconds, False
        for state in states:
            rows.append(state.terms)
            if is_new or state.step == run.steps or time.perf_counter() >= due:
                before = time.perf_counter()
                try:
                    _write(path, identity, before - began, rows, state)
                    failing = False
                except StylelabError as error:
                    if is_new:
                        raise
                    if not failing:
                        said = f"stylelab: {error}; the work goes on with the last checkpoint kept"
                        tqdm.write(printable(said), file=sys.stderr)
                    failing = True
                is_new, now = False, time.perf_counter()
                due = now + (self.seconds and max(self.seconds, (now - before) / SHARE))
            yield state

    def remove(self) -> None:
        """Remove the files, if there are any."""
        for number in range(1, max(self._runs, 1) + 1):
            self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        if number == 1:
            return self.path
        return self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")


def keep_in_named_folder(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: a checkpoint of each run in the folder that STYLELAB_CHECKPOINTS names, if it is set.

    The runner of notebooks sets it. Files are named by what the run depends on.
    """
    if (folder := os.environ.get(FOLDER)) and isinstance(run.objective, Objective):
        text = json.dumps(describe(run), sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        states = Checkpoint(Path(folder, f"{name}.safetensors"))(run, states)
    yield from states


def describe(run: Run) -> dict[str, str]:
    """By name, all that a run's outcome depends on; large things by their SHA-256.

    Raises:
        SettingError: if the objective is not a stylelab `Objective`.
    """
    if not isinstance(run.objective, Objective):
        kind = type(run.objective).__name__
        raise SettingError(
            f"a checkpoint needs a stylelab Objective, which it can tell; got {kind}"
        )
    network, device = run.objective.network, run.start.device
    where = str(device)
    if device.type == "cpu":
        kind = torch.backends.cpu.get_cpu_capability()
        where = f"cpu with {kind} and {torch.get_num_threads()} threads"
    elif device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    shape = {"padding": network.padding, "pooling": network.pooling, "units": network.units}
    found = {
        "stylelab": __version__,
        "torch": torch.__version__,
        "device": where,
        "precision": precision_of(network),
        "numbers": str(run.start.dtype).removeprefix("torch."),
        "shape": " x ".join(map(str, run.start.shape)),
        "steps": str(run.steps),
        "network": network.name,
        "network's weights": _sha256(network.state_dict(), json.dumps(shape)),
        "parametrisation": str(run.parametrisation),
        "optimiser": f"{optimiser_name(run.optimiser)}{getattr(run.optimiser, 'keywords', '')}",
        "starting image": _sha256({"start": run.start}),
    }
    if kept := _tensors(run.parametrisation):
        found["what is kept of the photograph"] = _sha256(kept)
    if run.objective.view is not None:
        found["colours"] = _sha256({"view": run.objective.view})
    for term in run.objective.terms:
        found[f"weight of {term.name}"] = str(term.weight.tolist())
        found[f"target of {term.name}"] = _sha256(_tensors(term))
    return found


def _tensors(of: object) -> dict[str, Tensor]:
    attributes = getattr(of, "__dict__", {})
    return {name: value for name, value in attributes.items() if torch.is_tensor(value)}


def _sha256(tensors: Mapping[str, Tensor], prefix: str = "") -> str:
    digest = hashlib.sha256(prefix.encode())
    for name, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes() if array.ndim == 0 else array)
    return OPAQUE + digest.hexdigest()


def _write(path: Path, identity: dict, seconds: float, rows: list[dict], state: State) -> None:
    tensors = {f"{HISTORY}{name}": torch.stack([row[name] for row in rows]) for name in rows[0]}
    tensors |= {f"{STATE}{name}": tensor for name, tensor in state.snapshot().items()}
    arrays = {name: t.detach().cpu().contiguous().numpy() for name, t in tensors.items()}
    header = {HEADER: json.dumps({"run": identity, "seconds": seconds})}
    with atomic(path) as temporary:
        try:
            save_file(arrays, temporary, header)
        except SafetensorError as error:  # what it makes of an error of the file system
            raise OSError(str(error)) from error
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())


def _resume(run: Run, path: Path, identity: Mapping[str, str]) -> list[dict[str, Tensor]]:
    """Make `run` start from the checkpoint; returns the losses of the steps before that."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()[HEADER])
            # Copies: results depend, to the last bit, on how tensors are aligned in memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        there, seconds = dict(header["run"]), float(header["seconds"])
        tensors = {name: tensor.to(run.start.device) for name, tensor in tensors.items()}
        parts = [
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            for prefix in (HISTORY, STATE)
        ]
        history, snapshot = parts
        rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
        if len(rows) != int(snapshot["step"]) + 1:
            raise ValueError("its losses are not of its step")
    except (LookupError, OSError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise StylelabError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, or "
            "another kind of file; delete it to start again, or name another"
        ) from error
    differing = []
    for name in {**identity, **there}:
        old, new = there.get(name, "none"), identity.get(name, "none")
        if old != new:
            hidden = OPAQUE in old + new
            differing.append(name if hidden else f"{name} ({old} there, {new} here)")
    if differing:
        raise SettingError(
            f"the checkpoint {path} is of another run; what differs: {', '.join(differing)}. "
            "Delete it to start again, or name another"
        )
    run.resume, run.earlier, run.seconds = snapshot, rows[:-1], seconds
    return list(run.earlier)


def _remove_leftovers(path: Path) -> None:
    """Remove files half written by a process that was killed, which `atomic` could not."""
    stem, suffix = re.escape(path.stem[:40]), re.escape(path.suffix)
    with suppress(OSError):
        for leftover in path.parent.glob(".*"):
            if re.fullmatch(rf"\.{stem}-[0-9a-f]{{32}}{suffix}", leftover.name):
                leftover.unlink()
