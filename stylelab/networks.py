"""Where weights come from: the networks by name, files of the user's, and their common scale.

| name | weights |
| --- | --- |
| `vgg19-mini` | ours, embedded in the package; see docs/vgg19-mini.md |
| `vgg19` | torchvision's VGG-19 |
| `vgg19-caffe` | Simonyan and Zisserman's own, as the paper used |
| `random`, `random:SEED` | He-initialised VGG-19: what training contributes |
| a path | a state dict, named as torchvision's, or `conv1_1.weight`, or `conv11.weight` |

Weights are read without unpickling code and checked by SHA-256 where the publisher gives one.
"""

import json
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from torch import Tensor, nn

from stylelab import rescale
from stylelab.errors import NetworkError, SettingError, StylelabError
from stylelab.files import download, local
from stylelab.vgg import LAYERS, VGG, VGG19_WIDTHS


@dataclass(frozen=True)
class Source:
    """A network by name: what it is and where its weights are from."""

    name: str
    description: str
    licence: str
    bytes: int
    file: str | None = None
    sha256: str = ""  # whole, or the leading digits that the publisher gives
    url: str | None = None
    caffe_input: bool = False  # BGR in 0..255 less the mean, in place of torchvision's convention


SOURCES = {
    source.name: source
    for source in (
        Source(
            "vgg19-mini",
            "embedded: a small VGG-19 that measures style in the large one's space (default)",
            "MIT; teacher: Wang et al. 2020, MIT",
            1_818_244,
            "vgg19-mini.safetensors",
            "17006fc700dd36e0d6c92cdce2caaea053744743e4d52d5bcbbed9ac87002bf4",
        ),
        Source(
            "vgg19",
            "torchvision's VGG-19, IMAGENET1K_V1",
            "BSD-3-Clause (torchvision)",
            574_673_361,
            "vgg19-dcbb9e9d.pth",
            "dcbb9e9d",
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        ),
        Source(
            "vgg19-caffe",
            "Simonyan and Zisserman's own VGG-19, closest to the paper",
            "CC BY 4.0 (Simonyan and Zisserman)",
            574_671_192,
            "vgg19-d01eb7cb.pth",
            "d01eb7cb",
            "https://web.eecs.umich.edu/~justincj/models/vgg19-d01eb7cb.pth",
            caffe_input=True,
        ),
        Source("random", "untrained, He-initialised VGG-19; random:SEED for others", "none", 0),
    )
}


def names() -> list[str]:
    """The networks known by name."""
    return list(SOURCES)


def info(name: str) -> Source:
    """The entry of a network; NetworkError if there is none of that name."""
    if name not in SOURCES:
        raise NetworkError(
            f"there is no network {name!r}; known are {', '.join(SOURCES)}, or the path of a file"
        )
    return SOURCES[name]


def path(name: str) -> Path | None:
    """Where the weights of a named network are or would be; None for `random`."""
    source = info(name)
    if source.file is None:
        return None
    return (local.cache_dir() if source.url else local.ASSETS) / source.file


def is_cached(name: str) -> bool:
    """Whether a named network can be loaded without a download."""
    return (where := path(name)) is None or where.exists()


def fetch(name: str) -> Path:
    """Download a named network unless it is there, verify it, and return its path.

    Raises:
        DownloadError: if it cannot be had, or is not the file expected.
        NetworkError: for an unknown name, or `random`, which has no file.
    """
    source, where = info(name), path(name)
    if where is None:
        raise NetworkError(f"network {name} is made when it is loaded; there is nothing to fetch")
    if source.url:
        return download.fetch(source.url, where, source.sha256)
    if (found := download.sha256_of(where)) != source.sha256:
        raise NetworkError(
            f"{where} has SHA-256 {found} in place of {source.sha256}; reinstall stylelab"
        )
    return where


def load(name: str, *, pooling: str | None = None, device: str | torch.device = "cpu") -> VGG:
    """A frozen network, ready to use.

    Trained networks and files are rescaled so that each filter's mean activation over a few
    photographs is 1 (paper, section 2); `vgg19-mini` has that scale in its readouts, and `random`
    is left as it is made, at about that scale.

    Args:
        name: a name out of `names()`, `random:SEED`, or the path of a weights file. A file's input
            convention is torchvision's, unless its hash is that of a network known by name.
        pooling: "avg" or "max"; None is the network's own, "avg" as in the paper unless the
            file says otherwise.
        device: where its weights are put.

    Raises:
        NetworkError: unknown name, or a file that is not what it should be.
        DownloadError: weights that cannot be downloaded.
    """
    if name == "random" or name.startswith("random:"):
        network = _random(name, pooling or "avg")
    else:
        known = name in SOURCES
        if known and SOURCES[name].url:
            rescale.check_photographs()  # before a long download, not after it
        where = fetch(name) if known else Path(name)
        if not known and not where.is_file():
            info(name)  # says which names there are
        digest = download.sha256_of(where)
        state, header = _read(where)
        network = _build(state, header, where, digest, pooling)
        network.name, network.sha256 = name if known else where.stem, digest
        if not header:
            rescale.to_mean_activation_one(network)
    return network.to(device, memory_format=torch.channels_last).eval()


def pick_device(device: str = "auto") -> torch.device:
    """The device called "cpu", "cuda", "cuda:1", "mps" or "auto": CUDA, else MPS, else the CPU.

    Raises:
        SettingError: if that device is unknown or not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next((kind for kind, is_there in there.items() if is_there), "cpu"))
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise SettingError(f"device must be auto, cpu, cuda or mps, got {device!r}") from None
    if picked.type == "cuda" and there["cuda"]:
        there["cuda"] = (picked.index or 0) < torch.cuda.device_count()
    if picked.type != "cpu" and not there.get(picked.type, False):
        raise SettingError(f"device {device} is not available here; use auto or cpu")
    return picked


def imagenet_input() -> dict[str, Tensor]:
    """torchvision's preprocessing as weights of a 1x1 convolution: (rgb - mean) / deviation."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return {"weight": torch.diag(1 / deviation).reshape(3, 3, 1, 1), "bias": -mean / deviation}


def caffe_input() -> dict[str, Tensor]:
    """Caffe's preprocessing as weights of a 1x1 convolution: 255 bgr - mean."""
    weight = 255 * torch.eye(3).flip(0).reshape(3, 3, 1, 1)
    return {"weight": weight, "bias": -torch.tensor([103.939, 116.779, 123.68])}


def _random(name: str, pooling: str) -> VGG:
    seed = name.partition(":")[2] or "0"
    if not seed.isdecimal() or int(seed) >= 2**63:
        raise NetworkError(
            f"network {name!r}: the seed must be a whole number below 2^63, as in random:7"
        )
    network = VGG(VGG19_WIDTHS, pooling=pooling, name=name)
    network.input.load_state_dict(imagenet_input())
    maker = torch.Generator().manual_seed(int(seed))
    for layer in LAYERS:
        conv = network.get_submodule(layer)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=maker)
        nn.init.zeros_(conv.bias)
    return network


def _read(where: Path) -> tuple[dict[str, Tensor], dict]:
    """A file's tensors by name, and the header of our own format ({} for any other file)."""
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


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with any of the known namings turned into `conv1_1.weight`, and nothing else."""
    plain, index = {}, 0
    for layer in LAYERS:
        index += 1 if layer.endswith("_1") and layer != "conv1_1" else 0  # a pooling before it
        for kind in ("weight", "bias"):
            for key in (
                f"{layer}.{kind}",
                f"features.{index}.{kind}",
                f"{layer.replace('_', '')}.{kind}",
            ):
                if key in state:
                    plain[f"{layer}.{kind}"] = state[key]
        index += 2  # the convolution and its ReLU
    return plain


def _build(
    state: dict[str, Tensor], header: dict, where: Path, digest: str, pooling: str | None
) -> VGG:
    """The network that a file's tensors describe."""
    plain = _plain_names(state)
    widths = {layer: len(plain[f"{layer}.bias"]) for layer in LAYERS if f"{layer}.bias" in plain}
    prefix = "readouts."
    readouts = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if distilled := "conv11_aux.weight" in state:  # Wang et al. 2020: 1x1 layers to VGG-19's space
        for layer in widths:
            aux = f"{layer.replace('_', '')}_aux"
            if f"{aux}.weight" in state:
                matrix = state[f"{aux}.weight"].flatten(1)
                readouts[layer] = torch.cat([matrix, state[f"{aux}.bias"][:, None]], 1)
    units = header.get("units") or {layer: len(matrix) for layer, matrix in readouts.items()}
    try:
        network = VGG(
            widths,
            padding="reflect" if distilled else header.get("padding", "zeros"),
            pooling=pooling or header.get("pooling", "max" if distilled else "avg"),
            units=units,
        )
        if "conv0.weight" in state:
            preprocess = {kind: state[f"conv0.{kind}"] for kind in ("weight", "bias")}
        elif "input.weight" in state:
            preprocess = {kind: state[f"input.{kind}"] for kind in ("weight", "bias")}
        else:
            known = (s for s in SOURCES.values() if s.url and digest.startswith(s.sha256))
            is_caffe = any(source.caffe_input for source in known)
            preprocess = caffe_input() if is_caffe else imagenet_input()
        network.load_state_dict(plain | {f"input.{k}": v for k, v in preprocess.items()})
        counts = network.units.values()
        if not all(isinstance(count, int) and count > 0 for count in counts):
            raise ValueError("units must be whole numbers above 0")
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError, StylelabError) as error:
        raise NetworkError(
            f"{where} is not a VGG-19: expected the weights and biases of 3x3 convolutions from "
            "conv1_1 on, named features.0.weight, conv1_1.weight or conv11.weight"
        ) from error
    for layer, matrix in readouts.items():
        network.readouts[layer] = nn.Parameter(matrix, requires_grad=False)
    return network
