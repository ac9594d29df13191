"""The results of the playground: PNG files in a folder, with their settings in the metadata.

Beside them lies what `stylelab transfer --settings` needs to make them again: uploaded images and
painted masks. Nothing is ever overwritten or deleted.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylelab.app.image_choice import ChosenImage
from stylelab.app.regions import Painted
from stylelab.app.session import Session
from stylelab.errors import ImageError, StylelabError
from stylelab.files.local import atomic, sha256_of
from stylelab.images import load_image, save_image
from stylelab.runs.metadata import metadata, read_settings

SOURCE = re.compile(r"(source|mask)-[0-9a-f]{8}")  # how files that are no results begin
MOST = 24  # results shown when the playground opens, the latest
REMOVED = "removed"  # the subfolder of results that were removed from the row
ROLES = ("content_mask", "style_mask")


@dataclass(frozen=True, eq=False)
class Made:
    """What a transfer is made from: its images, and what is painted on them."""

    content: ChosenImage
    style: ChosenImage
    second: ChosenImage | None
    painted: Painted

    @property
    def paintings(self) -> list[ChosenImage]:
        """One style, or two."""
        return [self.style, *([self.second] if self.second else [])]

    @property
    def title(self) -> str:
        """The picture in words."""
        styles = " and ".join(each.title for each in self.paintings)
        return f"{self.content.title} in the style of {styles}"

    @property
    def stem(self) -> str:
        """What the names of files begin with."""
        names = [self.content.name, *(each.name for each in self.paintings)]
        return "-".join(re.sub(r"[^\w-]+", "_", name)[:40] for name in names)


def save(folder: Path, made: Made, session: Session) -> Path:
    """Save the best picture of a session now, and all that it was made from; the new file.

    Raises:
        StylelabError: if the folder cannot be written to.
    """
    now = session.snapshot()
    sources: dict[str, object] = {"content": _source(folder, made.content)}
    styles = [_source(folder, each) for each in made.paintings]
    sources["style"] = styles if made.second else styles[0]
    images = [each.image for each in made.paintings]
    for role, masks in made.painted.files(made.content.image, images).items():
        sources[role] = [_mask(folder, mask) for mask in masks]
    texts = metadata(
        now.settings,
        sources,
        session.network,
        steps_done=now.step,
        alpha_beta_used=session.alpha_beta,
        first_loss=sum(now.losses[0][1].values()),
        best_loss=float(now.state.best_loss[0]),
        changes=[{"step": step, **settings.as_dict()} for step, settings in now.changes],
    )
    number = 1
    while any((place / f"{made.stem}-{number:03}.png").exists() for place in _places(folder)):
        number += 1
    save_image(now.best, path := folder / f"{made.stem}-{number:03}.png", metadata=texts)
    return path


def found(folder: Path) -> list[Path]:
    """The results in a folder, the latest first, `MOST` at most."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.glob("*.png") if not SOURCE.match(path.name)]
    results = []
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            read_settings(path)
        except StylelabError:  # someone else's picture
            continue
        results.append(path)
        if len(results) == MOST:
            break
    return results


def remove(path: Path) -> Path:
    """Move a result to the subfolder of removed ones; where it is now.

    Raises:
        ImageError: if the file system refuses.
    """
    target = path.parent / REMOVED / path.name
    try:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        raise ImageError(f"{path} cannot be moved to {target}: {error.strerror}") from error
    return target


def source_file(folders: Sequence[Path], source: object) -> Path | None:
    """The file that a record names, if it lies in one of the folders, by its SHA-256."""
    about = source if isinstance(source, dict) else {}
    name = Path(str(about.get("file", ""))).name
    for folder in folders:
        path = folder / name
        if name and path.is_file() and sha256_of(path) == about.get("sha256"):
            return path
    return None


def read_masks(folders: Sequence[Path], record: Mapping) -> Painted:
    """What was painted for a picture, from the files that its record names.

    Raises:
        StylelabError: if a file is not there, or the playground cannot have painted it.
    """
    masks: dict[str, list[Tensor]] = {}
    for role in set(ROLES) & set(record):
        listed = record[role] if isinstance(record[role], list) else [record[role]]
        for source in listed:
            path = source_file(folders, source)
            if path is None:
                name = source.get("file") if isinstance(source, dict) else source
                raise ImageError(f"its mask {name} is not in {folders[0]}")
            masks.setdefault(role, []).append(load_image(path)[:, :1])
    return Painted.read(masks)


def _places(folder: Path) -> tuple[Path, Path]:
    return folder, folder / REMOVED


def _source(folder: Path, image: ChosenImage) -> dict[str, str]:
    """An image as a record names it; a copy of an uploaded one is put into the folder."""
    name = image.file
    if image.content is not None:
        if not SOURCE.match(name):
            name = f"source-{image.sha256[:8]}-{name}"
        if not (folder / name).exists():
            with atomic(folder / name) as path:
                path.write_bytes(image.content)
    return {"file": name, "sha256": image.sha256}


def _mask(folder: Path, mask: Tensor) -> dict[str, str]:
    """A mask as a record names it, saved in the folder."""
    pixels = mask.mul(255).round().byte().numpy()
    digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    path = folder / f"mask-{digest[:8]}.png"
    if not path.exists():
        save_image(mask.expand(1, 3, -1, -1), path)
    return {"file": path.name, "sha256": sha256_of(path)}
