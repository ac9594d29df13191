"""Weights files."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stylelab.errors import NetworkError, StylelabError
from stylelab.files.local import atomic


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict]:
    """A file's tensors by name, and the header of our own format ({} for any other file)."""
    where = path
    try:
        if where.suffix == ".safetensors":
            with safetensors.safe_open(where, "pt") as file:
                header = json.loads((file.metadata() or {}).get("stylelab", "{}"))
                if not isinstance(header, dict):
                    raise ValueError("its header is no object")
                return {key: file.get_tensor(key).float() for key in file.keys()}, header  # noqa: SIM118
        state = torch.load(where, map_location="cpu", weights_only=True)
        state = state.get("model", state.get("state_dict", state))
        tensors = {key: value.float() for key, value in state.items() if torch.is_tensor(value)}
    except (
        *(AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError),
        *(ValueError, pickle.UnpicklingError, safetensors.SafetensorError, struct.error),
    ) as error:
        raise NetworkError(
            f"{where} cannot be read as weights ({type(error).__name__}): expected a state dict "
            "saved by torch.save or safetensors, of tensors alone, and not cut short"
        ) from error
    return tensors, {}


def cached(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in `path`; where that cannot be read they are made, and kept there if possible.

    A folder that cannot be written to is no error: the tensors are then made each time.
    """
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError):
        tensors = make()
    try:
        with atomic(path) as file:
            file.write_bytes(safetensors.torch.save(tensors))
    except StylelabError:
        pass
    return tensors
