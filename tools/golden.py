"""Check stylelab against numbers of the real VGG-19 that another program computed.

    python tools/golden.py FOLDER [--network vgg19]

The folder has two JSON files, which are not in the repository: `vgg19_first_layers.json`, the
weights of torchvision's conv1_1, conv1_2 and conv2_1, and `vgg19_losses_16px.json`, three images of
16 x 16 pixels, the losses of one against the others, and the gradients of these. They are from
github.com/zioul123/web-style-transfer, at commit 5c23eba6. There a style loss is the mean squared
difference of Gram matrices over C H W; the objective "authors" is a thousand times that.

Without the network's weights on this computer, what three layers allow is checked: the style losses
of conv1_1 and conv2_1 with their gradients.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from stylelab import Transfer, load, networks
from stylelab.files.weights import imagenet_input
from stylelab.objective import Objective
from stylelab.synthesis import transfer_objective
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG

FIRST = ("conv1_1", "conv1_2", "conv2_1")
LARGEST = 1e-4  # relative difference allowed: both programs compute in float32


@torch.no_grad()
def first_layers(values: dict) -> VGG:
    """The first three layers, as torchvision has them."""
    network = VGG(dict(zip(FIRST, (64, 64, 128), strict=True)), pooling="max")
    network.input.load_state_dict(imagenet_input())
    for number, layer in enumerate(FIRST, 1):
        conv = network.get_submodule(layer)
        for kind in ("Weight", "Bias"):
            found = torch.tensor(values[f"conv{number}{kind}Values"])
            getattr(conv, kind.lower()).copy_(found.view_as(getattr(conv, kind.lower())))
    return network


def apart(found: Tensor | float, expected: Tensor | float | list[float]) -> float:
    """The relative difference of two numbers, or of as many in two lists or tensors."""
    found, expected = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
    return float((found - expected).norm() / expected.norm())


def differences(network: VGG, values: dict) -> dict[str, float]:
    """By what is compared, the relative difference of the network's value from the file's."""
    side = values["imageSize"]
    images = [
        torch.tensor(values[f"{name}ImageValues"]).view(1, 3, side, side)
        for name in ("content", "style", "input")
    ]
    content, style, image = (each.to(network.dtype) for each in images)
    losses, slopes = values["expectedStyleLossByLayer"], values["expectedGradients"]
    keys = [f"relu{index}" for index in values["styleLayerIndices"]]
    expected = {
        f"style {layer}": (losses[key], slopes["styleByLayer"][key])
        for layer, key in zip(STYLE_LAYERS, keys, strict=True)
    }
    expected[f"content {CONTENT_LAYER}"] = values["expectedContentLoss"], slopes["content"]
    known = [layer for layer in STYLE_LAYERS if layer in network.layers]
    at = CONTENT_LAYER if CONTENT_LAYER in network.layers else network.layers[0]
    one = Transfer(content, style, objective="authors", content_layers=[at], style_layers=known)
    found, total = {}, 0.0
    for term in transfer_objective(network, [one]).terms:
        if term.name in expected:
            loss, gradient = Objective(network, [term]).value_and_grad(image)
            scale = 1e-3 if term.name.startswith("style") else 1.0
            wanted, slope = expected[term.name]
            found[f"{term.name}, loss"] = apart(scale * loss[term.name][0], wanted)
            found[f"{term.name}, gradient"] = apart(scale * gradient.flatten(), slope)
            total = total + scale * gradient.flatten()
    if at == CONTENT_LAYER:
        found["total, gradient"] = apart(total, slopes["total"])
    return found


def weights_apart(network: VGG, first: VGG) -> dict[str, float]:
    """The relative differences of the first layers' weights and biases."""
    return {
        f"{layer}.{kind}": apart(*(getattr(n.get_submodule(layer), kind) for n in (network, first)))
        for layer in FIRST
        for kind in ("weight", "bias")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="vgg19", help="a name or a file (default: vgg19)")
    options = parser.parse_args()
    values = [
        json.loads((options.folder / f"vgg19_{name}.json").read_text(encoding="utf-8"))
        for name in ("first_layers", "losses_16px")
    ]
    first = first_layers(values[0])
    name, found = options.network, {}
    if name not in networks.names() or networks.is_cached(name):
        network = load(name, pooling="max", rescale=False)
        found = weights_apart(network, first)
    else:
        print(f"{name} is not on this computer: only the first three layers are checked")
        network = first
    found |= differences(network, values[1])
    for what, difference in found.items():
        print(f"{what:<26} {difference:.1e}{'' if difference < LARGEST else '  TOO LARGE'}")
    return int(not all(difference < LARGEST for difference in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
