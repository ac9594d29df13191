"""Images by name: the paper's, downloaded once and verified, and those that need no download.

    gallery.open("neckarfront", size=512)   # the paper's photograph, (1, 3, H, W)

"paper" images are downloaded from the addresses in `assets/gallery.json` into the cache folder.
"embedded" ones are photographs that ship inside scikit-image and scikit-learn, and stylelab's own
paintings, which stand in for the artworks of figure 3.
"""

import difflib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor

from stylelab import images
from stylelab.errors import ImageError, SettingError
from stylelab.files.download import fetch
from stylelab.files.local import ASSETS, cache_dir

KINDS = ("paper", "embedded")
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


@cache
def entries() -> dict[str, SimpleNamespace]:
    """All images by name, each with `kind`, `title`, `artist`, `year`, `licence`, `use`, and:

    `file`, its name in the cache ("paper"), or its path inside a package or `assets` ("embedded");
    `source`, its address, or where the file came from; `sha256`, empty for embedded images.
    """
    table = json.loads((ASSETS / "gallery.json").read_text(encoding="utf-8"))
    return {name: SimpleNamespace(name=name, **fields) for name, fields in table.items()}


def names(kind: str | None = None) -> list[str]:
    """The names of all images, or of those of one kind ("paper" or "embedded")."""
    kinds = KINDS if kind is None else (_known(kind),)
    return [name for name, entry in entries().items() if entry.kind in kinds]


def info(name: str) -> SimpleNamespace:
    """The entry of an image; SettingError, with the names most like it, if there is none."""
    if name in entries():
        return entries()[name]
    close = difflib.get_close_matches(str(name), entries(), n=3) or entries()
    raise SettingError(f"there is no image named {name!r}; did you mean {', '.join(close)}?")


def credit(name: str) -> str:
    """One line for a caption: title, artist, year and licence."""
    entry = info(name)
    known = [part for part in (entry.title, entry.artist, entry.year) if part]
    return f"{', '.join(known)} ({entry.licence})"


def path(name: str) -> Path:
    """The file of an image; one of the paper's is downloaded if it is not in the cache.

    Raises:
        SettingError: if there is no image of this name.
        DownloadError: if it is to be downloaded and cannot be.
        ImageError: if the package it ships in is not installed, or lacks it.
    """
    entry = info(name)
    if entry.kind == "paper":
        return fetch(entry.source, cache_dir() / entry.file, entry.sha256)
    package, _, rest = entry.file.partition("/")
    file, cure = ASSETS / entry.file, "reinstall stylelab"
    if package in PACKAGES:
        cure = f"it ships with {PACKAGES[package]}: pip install 'stylelab[notebooks]'"
        if spec := find_spec(package):  # finds the package without importing it
            file = Path(spec.submodule_search_locations[0]) / rest
    if not file.is_file():
        raise ImageError(f"the image {name!r} is not installed; {cure}")
    return file


def is_here(name: str) -> bool:
    """Whether `path(name)` needs no download."""
    entry = info(name)
    return entry.kind != "paper" or (cache_dir() / entry.file).exists()


def open(name: str, size: int | None = None) -> Tensor:
    """The image of this name, as `images.load_image` gives it; raises what it and `path` raise."""
    return images.load_image(path(name), size)


def cast(kind: str) -> dict[str, str]:
    """Which image plays which part in the notebooks, for "paper" or "embedded" images.

    The parts: "content"; "B" to "F", figure 3's artworks; "texture", figure 1's artwork; "day" and
    "night", figure 7's photographs; "stones" and "wall", textures. See `assets/casts.json`.
    """
    return json.loads((ASSETS / "casts.json").read_text(encoding="utf-8"))[_known(kind)]


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise SettingError(f"images must be one of {', '.join(KINDS)}; got {kind!r}")
    return kind
