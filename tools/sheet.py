"""What the default settings make of 22 pairs of images: a sheet, `figures/compare/default.png`.

    python tools/sheet.py                       all pairs; the paper's images are downloaded
    python tools/sheet.py --images embedded     those that need no download
    python tools/sheet.py --size 256 --only cat

Every picture is made by `stylelab.synthesis.transfer` with its defaults, and saved in build/sheet/
too, at full size. The sheet says which alpha/beta each strength stood for.
"""

import argparse
import time
from pathlib import Path

import stylelab
from stylelab import gallery
from stylelab.figures.panels import Panel, panel_grid
from stylelab.figures.records import save_picture
from stylelab.images import save_image
from stylelab.runs import calls
from stylelab.runs.settings import Settings
from stylelab.synthesis import balance, transfer_batch

# Portraits, animals, things, buildings, landscapes, flat graphics; paintings soft and harsh.
PAIRS = """
astronaut starry_night, astronaut femme_nue_assise, astronaut dark_facets, camera the_scream,
camera storm, cat the_scream, cat starry_night, cat bursting_composition, coffee the_scream,
coffee storm, flower swirling_night, flower shipwreck, pagoda composition_vii, pagoda burning_dusk,
neckarfront starry_night, neckarfront femme_nue_assise, neckarfront pebbles,
city_by_day composition_vii, city_by_day shipwreck, rocket swirling_night, logo starry_night,
logo bursting_composition
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", choices=("all", "embedded"), default="all")
    parser.add_argument("--only", default="", help="pairs with this word in their names")
    parser.add_argument("--size", type=int, default=Settings().size)
    parser.add_argument("--network", default=Settings().network)
    parser.add_argument("--strength", type=float, default=Settings().strength)
    parser.add_argument("--output", type=Path, default=Path("figures/compare"))
    options = parser.parse_args()
    network = stylelab.load(options.network)
    settings = Settings(network=options.network, size=options.size, strength=options.strength)
    folder, panels, began = Path("build", "sheet", str(options.size)), [], time.perf_counter()
    pairs = [tuple(pair.split()) for pair in PAIRS.split(",") if options.only in pair]
    for names in pairs:
        if options.images == "embedded" and set(names) - set(gallery.names("embedded")):
            continue
        content, style = (gallery.open(name, options.size) for name in names)
        one = balance(network, calls.as_transfer(settings, content, style))
        result = transfer_batch(
            network, [one], steps=settings.steps, parametrisation=settings.parametrisation
        )
        save_image(result.images, folder / f"{'-'.join(names)}.png")
        title = f"{names[0]}, α/β {one.alpha_beta:.2g}"
        panels.append(Panel(result.images, title, inset=style))
        print(*names, f"alpha/beta {one.alpha_beta:.3g}, {result.seconds:.1f} s", flush=True)
    note = f"strength {settings.strength:g}, {settings.steps} steps, {options.size} px"
    credits = f"Network: {network.name}, {network.pooling} pooling · {note}"
    sheet = panel_grid(panels, columns=4, footer=credits, width=8)
    print(save_picture(sheet, "default", options.output), f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
