"""Compare what a style can be: Gram matrices, covariances, Wasserstein-2, sliced Wasserstein.

    python tools/style_losses.py [WAY ...] [--judge vgg19] [--network vgg19-mini] [--size 256]

For each style loss, and for Adam with and without a mean of its pictures, three pairs of images of
the gallery are transferred with the default strength. It saves the pictures and one sheet of them,
and prints means of `stylelab.figures.measures.picture_measure`, with the Wasserstein-2 distance as
a second measure of style: the first is of Gram matrices, which one way optimises and others do not.
The loss is the lowest of those that were optimised, over that of the photograph.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import torch

from stylelab import Transfer, gallery, load, save_image, transfer_batch
from stylelab.adam import adam
from stylelab.controls.statistics import representation, wasserstein
from stylelab.figures.measures import as_saved, picture_measure
from stylelab.lbfgs import lbfgs
from stylelab.vgg import STYLE_LAYERS, VGG, resize

PAIRS = (
    ("pagoda", "swirling_night"),
    ("astronaut", "dark_facets"),
    ("cat", "bursting_composition"),
)
WAYS = {
    "gram": {},
    "covariance": {"style_loss": "covariance"},
    "wasserstein": {"style_loss": "wasserstein"},
    "sliced": {"style_loss": "sliced"},
    "gram, Adam": {"optimiser": adam, "steps": 300},
    "gram, Adam's mean": {"optimiser": partial(adam, average=0.98), "steps": 300},
}
REMEMBERED = {  # what an optimiser remembers, at equal steps; only where it is asked for
    **{f"history {m}": {"optimiser": partial(lbfgs, history=m)} for m in (20, 10, 5, 2, 1)},
    "no history, Adam": {"optimiser": adam},
}
SHOWN = (
    "loss",
    "style",
    "Wasserstein-2",
    "edges",
    "finest luminance",
    "second luminance",
    "calm",
    "rim",
)


def wasserstein_2(judge: VGG, picture: torch.Tensor, style: torch.Tensor) -> float:
    """Mean over the style layers of the distance that `style_loss="wasserstein"` minimises."""
    size = tuple(picture.shape[2:])
    ours, theirs = (
        representation("wasserstein", judge, as_saved(image), STYLE_LAYERS, None, size)
        for image in (picture, style)
    )
    found = []
    for layer in STYLE_LAYERS:
        (root, mean), (wanted_root, wanted) = (
            (each[layer][:, :, :-1].double(), each[layer][:, :, -1].double())
            for each in (ours, theirs)
        )
        apart = wasserstein(mean, root @ root, wanted, wanted_root)
        found.append(float(apart) / judge.units[layer])
    return sum(found) / len(found)


def main() -> None:
    """Make the pictures, measure them, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ways = WAYS | REMEMBERED
    about = f"out of {', '.join(ways)} (default: those before the first history)"
    parser.add_argument("ways", nargs="*", metavar="WAY", help=about)
    parser.add_argument("--network", default="vgg19-mini")
    parser.add_argument("--judge", default="vgg19", help="a network that is not optimised")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--output", type=Path, default=Path("build/style_losses"))
    options = parser.parse_args()
    network, judge, rows = load(options.network), load(options.judge), []
    print(f"{'':<20}{''.join(f'{name:>18}' for name in SHOWN)}{'seconds':>10}")
    for way in options.ways or WAYS:
        how = {"steps": 100, "optimiser": "lbfgs", "style_loss": "gram", **ways[way]}
        kind, measured, row = how.pop("style_loss"), [], []
        began = time.perf_counter()
        for pair in PAIRS:
            content, style = (gallery.open(name, options.size) for name in pair)
            one = Transfer(content, style, style_loss=kind, strength=options.strength)
            result = transfer_batch(network, [one], progress=False, **how)
            picture = result.images
            found = picture_measure(judge, picture, content, style)
            found["loss"] = float(result.losses.min() / result.losses[0])  # the photograph's is 1
            found["Wasserstein-2"] = wasserstein_2(judge, picture, style)
            found["calm"] = found["finest regularity in calm places"]
            measured.append(found)
            row.append(picture)
            save_image(picture, options.output / f"{pair[0]}, {way}.png")
        seconds = (time.perf_counter() - began) / len(PAIRS)
        means = [sum(each[name] for each in measured) / len(PAIRS) for name in SHOWN]
        print(f"{way:<20}{''.join(f'{mean:>18.3f}' for mean in means)}{seconds:>10.1f}", flush=True)
        height = row[0].shape[2]
        row = [resize(x, (height, round(x.shape[3] * height / x.shape[2]))) for x in row]
        rows.append(torch.cat(row, 3))
    save_image(torch.cat(rows, 2), options.output / "sheet.png")


if __name__ == "__main__":
    main()
