"""A lecture's pictures: a matrix of style transfers, rendered beforehand, kept in a small folder.

    lecture.from_folder()   # in a notebook: figures/lecture, to be scrubbed through

The folder is made from a run of notebook 06:

    python -m stylelab.app.lecture build/quick-vgg19-mini figures/lecture
"""

import argparse
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from stylelab import gallery
from stylelab.app.scrubber import Scrubber, number
from stylelab.cli.exits import guarded
from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import atomic

FOLDER = Path(__file__).resolve().parents[2] / "figures" / "lecture"  # of a checkout
INDEX = "index.json"
TEXTS = ("rows", "columns", "ends", "network", "note", "credits")  # of a Scrubber, kept as they are
STARTS = {"noise": "white noise", "content": "the photograph", "style": "the painting"}


def from_folder(folder: str | os.PathLike[str] = FOLDER) -> Scrubber:
    """The `Scrubber` that `save` kept in `folder`, by default the one that comes with a checkout.

    Raises:
        StylelabError: if there is none, or its index or a picture is damaged.
    """
    folder = Path(folder)
    pictures, originals, texts = _index(folder)
    return Scrubber(
        {key: folder / file for key, file in pictures.items()},
        originals={label: folder / file for label, file in originals.items()},
        **texts,
    )


def save(scrubber: Scrubber, folder: str | os.PathLike[str]) -> Path:
    """Write the pictures, JPEGs, and `index.json` to `folder`; returns the index.

    Each file appears whole or not at all, the index last. Of the folder's other files those that
    an earlier index there names are removed.

    Raises:
        SettingError: if a layer or a label cannot be part of a file's name.
        StylelabError: if a file cannot be written, or an earlier index there is damaged.
    """
    folder, before = Path(folder), set()
    if (folder / INDEX).exists():
        pictures, originals, _ = _index(folder)
        before = {*pictures.values(), *originals.values()}
    names = {(layer, r): f"{layer}_{number(r)}.jpg" for layer, r in scrubber.pictures}
    labels = {label: f"{label}.jpg" for label in scrubber.originals}
    _check_files(*names.values(), *labels.values())
    jpegs = {names[key]: jpeg for key, jpeg in scrubber.pictures.items()}
    jpegs |= {labels[label]: jpeg for label, jpeg in scrubber.originals.items()}
    for name, jpeg in jpegs.items():
        with atomic(folder / name) as path:
            path.write_bytes(jpeg)
    index = {name: getattr(scrubber, name) for name in TEXTS}
    index["originals"] = labels
    index["pictures"] = [
        {"layer": layer, "ratio": ratio, "file": file} for (layer, ratio), file in names.items()
    ]
    with atomic(folder / INDEX) as path:
        text = json.dumps(index, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    for name in before - set(jpegs):
        (folder / name).unlink(missing_ok=True)
    return folder / INDEX


def from_run(
    folder: str | os.PathLike[str], figure: str = "preprint_figure3", *, quality: int = 80
) -> Scrubber:
    """The `Scrubber` of a matrix, style layers by ratios, that `stylelab figures` rendered.

    Args:
        folder: of the run, with the figure's record and panels.
        figure: the matrix's name.
        quality: of the JPEGs, 1 to 95.

    Raises:
        StylelabError: if it is not there, or not such a matrix.
    """
    from stylelab.figures import panel_path  # brings matplotlib, which showing does not need

    folder = Path(folder)
    record = _read(folder / f"{figure}.json")
    try:
        settings, made = record["settings"], record["results"]["transfers"]
        keys = [(row[-1], r) for row in settings["style_layers"] for r in settings["alpha_beta"]]
        pictures = {
            (layer, ratio): panel_path(folder, figure, f"{layer}_{ratio:.0e}")
            for layer, ratio in keys
        }
        height, width = made["size"]
        images = [record["images"][part] for part in ("content", "style")]
        network = f"{record['network']['name']}, {record['network']['pooling']} pooling"
        note = f"from {STARTS[settings['init']]}, {made['steps']} steps, {width} x {height} pixels"
        names, credits = ([image[what] for image in images] for what in ("name", "credit"))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StylelabError(
            f"{folder / figure}.json is not of a matrix of style layers by ratios ({error!r})"
        ) from error
    photograph, painting = (gallery.open(name, max(height, width)) for name in names)
    return Scrubber(
        pictures,
        originals={"photograph": photograph, "painting": painting},
        network=network,
        note=note,
        credits=credits,
        quality=quality,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make a lecture's folder from that of a run."""
    parser = argparse.ArgumentParser("python -m stylelab.app.lecture", description=main.__doc__)
    parser.add_argument("run", help="folder of a run, such as build/quick-vgg19-mini")
    parser.add_argument("folder", help="where the pictures go, such as figures/lecture")
    parser.add_argument("--quality", type=int, default=80, help="of the JPEGs (default: 80)")
    options = parser.parse_args(argv)

    def work() -> int:
        scrubber = from_run(options.run, quality=options.quality)
        index = save(scrubber, options.folder)
        print(f"{index}: {scrubber!r}, {len(scrubber._repr_html_()) / 1000:.0f} kB on a page")
        return 0

    return guarded(work)


def _index(folder: Path) -> tuple[dict[tuple[str, float], str], dict[str, str], dict]:
    """What the index of `folder` says: files by layer and ratio, files by label, other texts."""
    index = _read(folder / INDEX)
    try:
        pictures = {(one["layer"], one["ratio"]): one["file"] for one in index["pictures"]}
        originals = dict(index["originals"])
        _check_files(*pictures.values(), *originals.values())
        texts = {name: index[name] for name in TEXTS}
        for name, text in texts.items():
            if not isinstance(text, list if name in ("ends", "credits") else str):
                raise TypeError(f"{name} is {text!r}")
            "".join(text)  # TypeError unless made of texts
        return pictures, originals, texts
    except (KeyError, TypeError, ValueError) as error:
        raise StylelabError(
            f"{folder / INDEX} is damaged ({error!r}); delete it, and make the folder anew"
        ) from error


def _check_files(*names: str) -> None:
    """That these can be names of different pictures inside a folder."""
    for name in names:
        if not re.fullmatch(r"[\w+-][\w.+-]*\.jpg", name):
            raise SettingError(
                f"a file's name may have letters, digits and . + - _, and must end in .jpg; "
                f"got {name!r}"
            )
    if len(set(names)) < len(names):
        raise SettingError("two pictures have the same name; choose ratios that differ more")


def _read(path: Path) -> dict:
    """The object in a JSON file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StylelabError(
            f"{path} does not exist; stylelab figures 06 renders the pictures, and "
            "python -m stylelab.app.lecture RUN FOLDER puts them into a folder"
        ) from None
    except (OSError, ValueError) as error:
        raise StylelabError(f"{path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise StylelabError(f"{path} must hold an object; make it anew")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
