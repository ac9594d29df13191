"""Figure 3's five transfers on two networks, side by side, with the same objective and steps.

    python tools/compare.py NETWORK OTHER [--pooling avg max] [--images paper] [--size 256]

It writes the figure `compare` and its record. NETWORK and OTHER are names or weights files. The
style losses of both networks' pictures, as NETWORK measures them, are printed and kept in the
record.
"""

import argparse

from stylelab import Transfer, figures, gallery, load, transfer_batch
from stylelab.figures.measures import style_loss
from stylelab.optimisation import Result

RATIO = {"paper": 1e-3, "embedded": 1e-2}  # alpha/beta, one for all five artworks


def judged(network, results: dict[str, Result], styles: dict) -> dict[str, float]:
    """Mean style loss of each result's saved pictures as `network` measures it, and their ratio."""
    facts = {}
    for name, result in results.items():
        pairs = zip(result.images.split(1), styles.values(), strict=True)
        losses = [style_loss(network, *pair) for pair in pairs]
        facts[f"style of {name}"] = sum(losses) / len(losses)
    own, other = facts.values()
    return facts | {"ratio": other / own}


def main() -> None:
    """Make and save the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs=2, metavar="NETWORK")
    parser.add_argument("--pooling", nargs=2, choices=("avg", "max"), default=(None, None))
    parser.add_argument("--images", choices=gallery.KINDS, default="embedded")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", default="build/compare")
    options = parser.parse_args()
    cast = gallery.cast(options.images)
    content = gallery.open(cast["content"], options.size)
    styles = {panel: gallery.open(cast[panel], options.size) for panel in "BCDEF"}
    ratio, results = RATIO[options.images], {}
    transfers = [Transfer(content, style, alpha_beta=ratio) for style in styles.values()]
    pairs = zip(options.networks, options.pooling, strict=True)
    networks = [load(name, pooling=pooling) for name, pooling in pairs]
    for network in networks:
        name = f"{network.name}, {network.pooling} pooling"
        results[name] = transfer_batch(network, transfers, steps=options.steps)
    facts = judged(networks[0], results, styles)
    print(f"style losses as {networks[0].name} measures them:", facts)
    panels = [
        figures.Panel(result.images[i : i + 1], f"{panel}  {name}", styles[panel])
        for i, panel in enumerate(styles)
        for name, result in results.items()
    ]
    used = [cast["content"], *(cast[panel] for panel in styles)]
    made = f"{options.steps} steps from the photograph, {options.size} px"
    note = f"α/β = {figures.power_of_ten(ratio)}, {made}"
    parameters = {name: getattr(options, name) for name in ("images", "size", "steps")}
    other = {"name": networks[0].name, "sha256": networks[0].sha256, "pooling": networks[0].pooling}
    record = figures.make_record(
        "compare",
        parameters=parameters,
        network=networks[1],
        images={"content": cast["content"], **{panel: cast[panel] for panel in styles}},
        results=results,
        settings={"alpha_beta": ratio, "other network": other},
        facts=facts,
    )
    credits = figures.footer(networks, used, note)
    figure = figures.panel_grid(panels, columns=2, width=8, footer=credits)
    print(figures.save_figure(figure, record, options.output))


if __name__ == "__main__":
    main()
