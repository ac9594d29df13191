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

from stylelab import gallery, vgg
from stylelab.engine.hooks import HOOKS
from stylelab.engine.precision import Convolution
from stylelab.engine.tiles import in_tiles
from stylelab.errors import NetworkError, SettingError
from stylelab.files import download, local, weights
from stylelab.files.weights import CONVENTIONS, build_network, imagenet_input
from stylelab.vgg import VGG, VGG19_WIDTHS, mean_activations

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
def load(
    name: str,
    *,
    pooling: str | None = None,
    convention: str | None = None,
    rescale: bool = True,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> VGG:
    """A frozen network, ready to use.

    Args:
        name: a name out of `names()`, `random:SEED`, or the path of a weights file.
        pooling: "avg" or "max"; None is the file's own, or "avg" as in the paper.
        convention: "torchvision" or "caffe", the input convention of a file of yours. None is the
            file's own if it has one, Caffe's for a copy of `vgg19-caffe`, or torchvision's.
        rescale: make each filter's mean activation over a few photographs 1 (section 2); False
            leaves the weights as they were trained. `vgg19-mini` has that scale in its readouts in
            any case, and `random` is always left as it is made, at about that.
        device: where its weights are put.
        precision: of its convolutions, as `stylelab.engine.precision` names them.

    Raises:
        NetworkError: for an unknown name, a file that is not what it should be, or a convention
            for weights that have their own.
        SettingError: for an unknown pooling, convention or precision.
        DownloadError: for weights that cannot be downloaded.
    """
    convolution = Convolution(precision, device)
    known, is_random = name in sources(), name == "random" or name.startswith("random:")
    if convention not in (None, *CONVENTIONS):
        choices = ", ".join(CONVENTIONS)
        raise SettingError(f"convention must be one of {choices}, got {convention!r}")
    if convention and (known or is_random):
        raise NetworkError(f"network {name} has its own input convention; leave out convention")
    if is_random:
        network = _random(name, pooling or "avg")
    else:
        if known and sources()[name].url:
            for photograph in PHOTOGRAPHS:  # before a long download, not after it
                gallery.path(photograph)
        where = fetch(name) if known else Path(name)
        if not known and not where.exists():
            info(name)  # says which names there are
        tensors, header = weights.read_weights(where)
        digest = sources()[name].sha256 if known else ""  # which `fetch` has verified
        if len(digest) < 64:
            digest = local.sha256_of(where)
        if convention and {"input.weight", "conv0.weight"} & tensors.keys():
            raise NetworkError(f"{where} has its own input convention in it; leave out convention")
        caffe = any(s.caffe_input and digest.startswith(s.sha256) for s in sources().values())
        used = convention or ("caffe" if caffe else "torchvision")
        network = build_network(where, tensors, header, CONVENTIONS[used](), pooling)
        network.name, network.sha256 = name if known else where.stem, digest
        if rescale and header.get("as_trained", not header):
            kept = f"activations-{digest[:16]}-{network.pooling}-{used}.safetensors"
            kept = local.cache_dir() / kept
            vgg.rescale(network, weights.cached(kept, lambda: _means_over_photographs(network)))
    network.convolution, network.hooks = convolution, HOOKS
    network.pieces = in_tiles
    return network.to(device, memory_format=torch.channels_last).eval()


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
