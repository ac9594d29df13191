"""Networks by name, the user's own weights, and their common scale.

`vgg19-mini` is ours and comes with the package, `vgg19` is torchvision's VGG-19, `vgg19-caffe` is
Simonyan and Zisserman's own, as the paper used, and `random` or `random:SEED` is an untrained one.
A path is that of a state dict named as torchvision's, or `conv1_1.weight`, or `conv11.weight`.
Weights are read without unpickling code and checked by SHA-256 where the publisher gives one.
"""

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from stylelab import gallery
from stylelab.engine import winograd
from stylelab.engine.hooks import HOOKS
from stylelab.engine.tiles import in_tiles
from stylelab.errors import NetworkError
from stylelab.files import download, local, weights
from stylelab.files.weights import build_network
from stylelab.vgg import VGG, VGG19_WIDTHS, mean_activations, rescale

PHOTOGRAPHS = ("pagoda", "coffee", "cat", "astronaut")  # show what a mean activation is, at 256 px


@cache
def sources() -> dict[str, SimpleNamespace]:
    """The networks by name, as `assets/networks.json` lists them.

    `sha256` may be its leading digits alone, as the publisher gives them. `caffe_input` means BGR
    in 0..255 less the mean, in place of torchvision's convention.
    """
    table = json.loads((local.ASSETS / "networks.json").read_text(encoding="utf-8"))
    return {name: SimpleNamespace(name=name, **fields) for name, fields in table.items()}


def names() -> list[str]:
    """The networks known by name."""
    return list(sources())


def info(name: str) -> SimpleNamespace:
    """The entry of a network; NetworkError if there is none of that name."""
    if name not in sources():
        known = ", ".join(names())
        raise NetworkError(f"there is no network {name!r}; known are {known}, or a file's path")
    return sources()[name]


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
    """The verified weights of a named network, downloaded if need be.

    Raises:
        DownloadError: if they cannot be had, or are not the file expected.
        NetworkError: for an unknown name, or `random`, which has no file.
    """
    source, where = info(name), path(name)
    if where is None:
        raise NetworkError(f"network {name} is made when it is loaded; there is nothing to fetch")
    if source.url:
        return download.fetch(source.url, where, source.sha256)
    if (found := local.sha256_of(where)) != source.sha256:
        raise NetworkError(f"{where} has the SHA-256 {found}, a wrong one; reinstall stylelab")
    return where


@torch.inference_mode(False)
def load(name: str, *, pooling: str | None = None, device: str | torch.device = "cpu") -> VGG:
    """A frozen network, ready to use.

    It is rescaled so that each filter's mean activation over a few photographs is 1 (section 2).
    `vgg19-mini` has that scale in its readouts; `random` is left as it is made, at about that.

    Args:
        name: a name out of `names()`, `random:SEED`, or the path of a weights file. A file's input
            convention is torchvision's, unless its hash is that of a network known by name.
        pooling: "avg" or "max"; None is the file's own, or "avg" as in the paper.
        device: where its weights are put.

    Raises:
        NetworkError: for an unknown name, or a file that is not what it should be.
        DownloadError: for weights that cannot be downloaded.
    """
    if name == "random" or name.startswith("random:"):
        network = _random(name, pooling or "avg")
    else:
        known = name in sources()
        if known and sources()[name].url:
            for photograph in PHOTOGRAPHS:  # before a long download, not after it
                gallery.path(photograph)
        where = fetch(name) if known else Path(name)
        if not known and not where.exists():
            info(name)  # says which names there are
        tensors, header = weights.read_weights(where)
        digest = local.sha256_of(where)
        caffe = any(s.caffe_input and digest.startswith(s.sha256) for s in sources().values())
        preprocess = caffe_input() if caffe else imagenet_input()
        network = build_network(where, tensors, header, preprocess, pooling)
        network.name, network.sha256 = name if known else where.stem, digest
        if not header:
            kept = local.cache_dir() / f"activations-{digest[:16]}-{network.pooling}.safetensors"
            rescale(network, weights.cached(kept, lambda: _means_over_photographs(network)))
    network.convolution, network.hooks = winograd.Convolution(), HOOKS
    network.pieces = in_tiles
    return network.to(device, memory_format=torch.channels_last).eval()


def imagenet_input() -> dict[str, Tensor]:
    """torchvision's preprocessing as weights of a 1x1 convolution: (rgb - mean) / deviation."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return {"weight": torch.diag(1 / deviation).reshape(3, 3, 1, 1), "bias": -mean / deviation}


def caffe_input() -> dict[str, Tensor]:
    """Caffe's preprocessing as weights of a 1x1 convolution: 255 bgr - mean."""
    weight = 255 * torch.eye(3).flip(0).reshape(3, 3, 1, 1)
    return {"weight": weight, "bias": -torch.tensor([103.939, 116.779, 123.68])}


def _means_over_photographs(network: VGG) -> dict[str, Tensor]:
    return mean_activations(network, [gallery.open(name, 256) for name in PHOTOGRAPHS])


def _random(name: str, pooling: str) -> VGG:
    seed = name.partition(":")[2] or "0"
    if not (seed.isascii() and seed.isdecimal()) or int(seed) >= 2**63:
        raise NetworkError(f"network {name!r}: the seed must be a whole number, as in random:7")
    network = VGG(VGG19_WIDTHS, pooling=pooling, name=name)
    network.input.load_state_dict(imagenet_input())
    maker = torch.Generator().manual_seed(int(seed))
    for layer in network.layers:
        conv = network.get_submodule(layer)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=maker)
        nn.init.zeros_(conv.bias)
    return network
