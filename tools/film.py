"""Make figures/film.html: a transfer, step by step, under a slider. It takes a minute or two.

    python tools/film.py [--size 320] [--steps 200] [--output figures/film.html]

The transfer starts from white noise, as in the paper, so that everything in it can be seen to
come. The book shows the page in notebook 04 and on its front page.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

import stylelab
from stylelab import gallery
from stylelab.app.chooser import Dial, chooser, whole_page
from stylelab.app.live_view import data_url
from stylelab.figures import films
from stylelab.files.local import atomic
from stylelab.optimisation import Result

ROOT = Path(__file__).resolve().parents[1]
CONTENT, STYLE, NETWORK = "pagoda", "swirling_night", "vgg19-mini"
QUALITY = 72  # of the JPEG pictures inside
FRAMES = 16


def main() -> None:
    """Make the page that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--size", type=int, default=320, help="longer side, pixels (default: 320)")
    parser.add_argument("--steps", type=int, default=200, help="(default: 200)")
    parser.add_argument("--output", type=Path, default=ROOT / "figures" / "film.html")
    options = parser.parse_args()
    network, film = stylelab.load(NETWORK), films.Film()
    images = [gallery.open(name, options.size) for name in (CONTENT, STYLE)]
    hooks = [*network.hooks, film]
    result = stylelab.transfer(network, *images, init="noise", steps=options.steps, hooks=hooks)
    html = page(film.frames, result, images)
    with atomic(options.output) as path:
        path.write_text(html, encoding="utf-8")
    print(f"{options.output}: {len(html) / 1000:.0f} kB")


def page(frames: Mapping[int, Tensor], result: Result, images: list[Tensor]) -> str:
    """The page of a film's frames by their steps; `images` are the photograph and the painting."""
    steps = sorted(frames)
    count = min(FRAMES, len(steps))
    steps = [steps[round(i * (len(steps) - 1) / max(1, count - 1))] for i in range(count)]
    losses = result.losses[:, 0] / result.losses[0, 0]
    height, width = result.images.shape[2:]
    slider = Dial(
        "step",
        [str(step) if i % 3 == 0 else "" for i, step in enumerate(steps)],
        len(steps) - 1,
        ("white noise", "the result"),
    )
    facts = (
        f"Network: {NETWORK} · from white noise, {result.steps} steps, {width} x {height} pixels"
        f" · Images: {gallery.credit(CONTENT)}; {gallery.credit(STYLE)}"
    )
    body = chooser(
        {
            f"Step {step}: the loss is {_percent(float(losses[step]))} of that at the start": (
                data_url(frames[step], quality=QUALITY)
            )
            for step in steps
        },
        slider,
        beside={
            caption: data_url(image, quality=QUALITY)
            for caption, image in zip(("photograph", "painting"), images, strict=True)
        },
        facts=facts,
    )
    return whole_page("A style transfer, step by step", body)


def _percent(share: float) -> str:
    return f"{100 * share:.2g}\u00a0%" if share < 0.995 else f"{100 * share:.0f}\u00a0%"


if __name__ == "__main__":
    main()
