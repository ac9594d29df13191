"""What makes an optimisation the one it is: by name, all that determines what it ends with."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from stylelab import __version__
from stylelab.objective import Objective

OPAQUE = "sha256:"  # before what says nothing to a reader


def fingerprint(objective: Objective, start: Tensor, steps: int) -> dict[str, str]:
    """By name, all that determines what an optimisation ends with."""
    network, device = objective.network, str(start.device)
    if device == "cpu":
        kind = torch.backends.cpu.get_cpu_capability()
        device = f"cpu with {kind} and {torch.get_num_threads()} threads"
    targets = {"content": objective.content, "style": objective.style}
    shape = {"padding": network.padding, "pooling": network.pooling, "units": network.units}
    return {
        "stylelab": __version__,
        "torch": torch.__version__,
        "device": device,
        "numbers": str(start.dtype).removeprefix("torch."),
        "shape": " x ".join(map(str, start.shape)),
        "steps": str(steps),
        "network": network.name,
        "total variation": str(objective.tv_weight),
        **{f"{kind} layers": ", ".join(which) or "none" for kind, which in targets.items()},
        **{
            f"weights of {kind}": str({layer: t.weight.tolist() for layer, t in which.items()})
            for kind, which in targets.items()
        },
        "network's weights": _sha256(network.state_dict(), json.dumps(shape)),
        "starting image": _sha256({"start": start}),
        **{
            f"{kind} to match": _sha256({layer: t.values for layer, t in which.items()})
            for kind, which in targets.items()
        },
    }


def _sha256(tensors: Mapping[str, Tensor], about: str = "") -> str:
    digest = hashlib.sha256(about.encode())
    for name, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes() if array.ndim == 0 else array)
    return OPAQUE + digest.hexdigest()
