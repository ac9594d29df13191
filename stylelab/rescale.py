"""Rescaling a network so that each filter's mean activation is 1 (paper, section 2).

A ReLU network allows it without a change of what it computes: what a filter is divided by, the next
layer's weights are multiplied by. Losses of different layers and networks become comparable.
"""

from collections.abc import Mapping, Sequence

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stylelab import gallery
from stylelab.errors import StylelabError
from stylelab.files import local
from stylelab.files.local import atomic
from stylelab.vgg import VGG

PHOTOGRAPHS = ("pagoda", "coffee", "cat", "astronaut")  # of the gallery, at 256 px


@torch.no_grad()
def mean_activations(network: VGG, images: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean of each filter over images `(1, 3, H, W)` and positions, per layer `(N_l,)`."""
    sums = {layer: torch.zeros(width) for layer, width in network.widths.items()}
    for image in images:
        for layer, features in network(image, network.layers).items():
            sums[layer] += features.mean((0, 2, 3)) / len(images)
    return sums


@torch.no_grad()
def rescale(network: VGG, means: Mapping[str, Tensor]) -> None:
    """Divide each filter, in place, by its mean activation `means[layer]`, `(N_l,)`.

    A filter (nearly) without activation, below a hundredth of its layer's mean, is divided by that
    hundredth: it stays as good as silent, and does not count as a unit. Readouts are adapted so
    that they give what they gave.
    """
    before = None
    for layer in network.layers:
        conv, mean = network.get_submodule(layer), means[layer]
        least = (0.01 * mean.mean()).clamp_min(torch.finfo(mean.dtype).tiny)
        scale = mean.clamp_min(least)
        if before is not None:
            conv.weight *= before[:, None, None]
        conv.weight /= scale[:, None, None, None]
        conv.bias /= scale
        if (readout := network.readout(layer)) is not None:
            readout[:, :-1] *= scale
        else:
            network.units[layer] = int((mean > least).sum()) or len(mean)
        before = scale


def check_photographs() -> None:
    """ImageError, which says what to install, unless the photographs are there."""
    for photograph in PHOTOGRAPHS:
        gallery.path(photograph)


def to_mean_activation_one(network: VGG) -> None:
    """`rescale` by the mean activations over a few photographs.

    They are kept in the cache folder, under the hash of the network's weights; where that cannot be
    written to they are measured at each loading.
    """
    name = f"activations-{network.sha256[:16]}-{network.pooling}.safetensors"
    cached = local.cache_dir() / name
    try:
        means = safetensors.torch.load_file(cached)
    except (OSError, safetensors.SafetensorError):
        means = mean_activations(network, [gallery.open(photo, 256) for photo in PHOTOGRAPHS])
        try:
            with atomic(cached) as file:
                file.write_bytes(safetensors.torch.save(means))
        except StylelabError:
            pass
    rescale(network, means)
