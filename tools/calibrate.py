"""Compare what alpha/beta means on two networks.

    python tools/calibrate.py vgg19-mini vgg19 [--images paper] [--size 256]

A transfer weighs mean content loss against mean style loss. For the photograph and each artwork of
figure 3 this prints content over style, the photograph's losses to the artwork, on both networks.
The constant by which alpha/beta would have to be multiplied on the first network to mean what it
means on the second is the geometric mean of their quotients; stylelab uses none.
"""

import argparse
import math

import torch

from stylelab import Transfer, gallery, load
from stylelab.synthesis import transfer_objective
from stylelab.vgg import VGG, resize


def content_over_style(network: VGG, photograph: torch.Tensor, artwork: torch.Tensor) -> float:
    """The photograph's mean content loss over its mean style loss, both to the artwork."""
    resized = resize(artwork, tuple(photograph.shape[2:]))
    objective = transfer_objective(network, [Transfer(resized, artwork, alpha_beta=1.0)])
    losses, _ = objective.value_and_grad(photograph)
    style = sum(float(loss) for term, loss in losses.items() if term.startswith("style"))
    return float(losses["content conv4_2"]) / style


def main() -> None:
    """Measure and print the quotients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("networks", nargs=2, metavar="NETWORK")
    parser.add_argument("--pooling", nargs=2, choices=("avg", "max"), default=(None, None))
    parser.add_argument("--images", choices=gallery.KINDS, default="embedded")
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    pairs = zip(options.networks, options.pooling, strict=True)
    networks = [load(name, pooling=pooling) for name, pooling in pairs]
    cast = gallery.cast(options.images)
    photograph = gallery.open(cast["content"], options.size)
    print(f"{'content over style':<24} {networks[0].name:>14} {networks[1].name:>14}   quotient")
    logarithms = []
    for panel in "BCDEF":
        artwork = gallery.open(cast[panel], options.size)
        ours, theirs = (content_over_style(n, photograph, artwork) for n in networks)
        logarithms.append(math.log(theirs / ours))
        print(f"{cast[panel]:<24} {ours:>14.4g} {theirs:>14.4g}   {theirs / ours:8.3f}")
    print(f"constant: {math.exp(sum(logarithms) / len(logarithms)):.3f}")


if __name__ == "__main__":
    main()
