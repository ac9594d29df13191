"""The image files of a transfer: those given, and those that a saved picture was made from."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from stylelab import gallery, images
from stylelab.controls.colours import views
from stylelab.controls.regions import check_mask
from stylelab.controls.styles import Style
from stylelab.errors import ImageError, SettingError
from stylelab.files.local import sha256_of
from stylelab.objective import shown
from stylelab.runs.metadata import read_settings
from stylelab.runs.presets import PRESETS
from stylelab.runs.settings import OPTIONS, Settings
from stylelab.vgg import VGG

ROLES = ("content", "style", "content_mask", "style_mask", "strokes", "start")
SINGLE = ("content", "style", "start")  # in a picture's metadata no list, if there is one
GREY = 0.1  # by which the colours of a mask may differ, as JPEG makes them do


@dataclass(frozen=True)
class Source:
    """An image file: the name it was given by, and its path."""

    name: str
    path: Path

    @property
    def record(self) -> dict[str, str]:
        """How a picture's metadata name it."""
        return {"file": self.path.name, "sha256": sha256_of(self.path)}


@dataclass(frozen=True)
class Sources:
    """All image files of a transfer, by their roles."""

    content: Source
    style: tuple[Source, ...]
    content_mask: tuple[Source, ...] = ()
    style_mask: tuple[Source, ...] = ()
    strokes: tuple[Source, ...] = ()
    start: tuple[Source, ...] = ()

    def __iter__(self) -> Iterator[Source]:
        """All of them."""
        return iter((*self.pictures, *self.content_mask, *self.style_mask, *self.start))

    @property
    def pictures(self) -> tuple[Source, ...]:
        """The files that a network looks at."""
        return (self.content, *self.style, *self.strokes)

    def check_counts(self) -> None:
        """SettingError unless the numbers of styles and of masks agree."""
        styles, masks, others = map(len, (self.style, self.content_mask, self.style_mask))
        if others not in (0, masks):
            raise SettingError(
                f"the numbers of files for --content-mask, {masks}, and --style-mask, {others}, "
                "differ; give as many, in pairs, or no --style-mask"
            )
        if masks and styles not in (1, masks):
            raise SettingError(
                f"the numbers of STYLEs, {styles}, and of masks, {masks}, differ; give a mask for "
                "each STYLE, or one STYLE for all masks"
            )

    def record(self) -> dict[str, object]:
        """How a picture's metadata name the files: those that there are, lists where several."""
        found: dict[str, object] = {"content": self.content.record}
        for role in ROLES[1:]:
            if listed := [each.record for each in getattr(self, role)]:
                found[role] = listed[0] if role in SINGLE and len(listed) == 1 else listed
        return found


class Saved:
    """The settings and the sources of a picture saved by stylelab.

    Raises:
        ImageError: if `path` is no such picture.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.settings, self._record = read_settings(path)

    def merged(self, given: Mapping[str, object]) -> Settings:
        """The picture's settings but for those `given`."""
        if "strength" in given:
            given = {"alpha_beta": None, **given}
        if given.get("optimiser") == "lbfgs":
            given = {"learning_rate": None, "average": 0.0, **given}  # of the picture's Adam
        return replace(self.settings, **given)

    def sources(self, role: str) -> tuple[Source, ...]:
        """The files of a role, found beside the picture, here or in the gallery.

        Raises:
            ImageError: if one is nowhere, or where it should be is another.
        """
        listed = self._record.get(role, [])
        if role == "start" and self.settings.start_file:
            listed = listed or {}  # it must be named
        return tuple(
            self._source(each, role) for each in (listed if isinstance(listed, list) else [listed])
        )

    def check_network(self, network: VGG) -> None:
        """SettingError if the weights are not those that the picture was made with."""
        if self._record.get("network_sha256", network.sha256) != network.sha256:
            raise SettingError(
                f"{self.path} was made with other weights than those of {network.name} here; name "
                "a network with --network"
            )

    def _source(self, listed: object, role: str) -> Source:
        about = listed if isinstance(listed, dict) else {}
        name, sha256 = Path(str(about.get("file", ""))).name, about.get("sha256")
        places = [self.path.parent / name, Path(name)] if name else []
        places += [
            gallery.path(each)
            for each in gallery.names()
            if Path(gallery.info(each).file).name == name and gallery.is_here(each)
        ]
        there = [place for place in places if place.is_file()]
        for place in there:
            if sha256_of(place) == sha256:
                return Source(name, place)
        wrong = f"{there[0]} is another file (its SHA-256 differs)" if there else "it is not here"
        flags = {"content": "", "style": "", "start": " with --init"}
        flag = flags.get(role, f" with --{role.replace('_', '-')}")
        raise ImageError(
            f"{self.path} was made from {name or 'an unnamed image'}, and {wrong}; give it{flag}"
        )


def find(arguments: Namespace, saved: Saved | None) -> Sources:
    """The files that the arguments name; of roles that they do not name, those of `saved`.

    Masks are one matter: if any are given, those of `saved` do not count; and a start of any kind
    that is given stands in place of the file that `saved` began with.

    Raises:
        ImageError: for a file that is missing.
        SettingError: for numbers of masks that do not agree.
    """
    found: dict[str, tuple[Source, ...]] = {}
    masks = bool(arguments.content_mask or arguments.style_mask)
    for role in ROLES:
        given = (arguments.init if role == "start" else getattr(arguments, role)) or []
        names = [given] if isinstance(given, str) else given
        if saved and not names and not (masks and role.endswith("mask")):
            found[role] = saved.sources(role)
        elif role == "start" and given in OPTIONS["init"].choices:
            found[role] = ()
        else:
            found[role] = tuple(Source(name, _find(name)) for name in names)
    if not found["content"] or not found["style"]:
        raise SettingError("the picture names no images; give CONTENT and STYLE")
    sources = Sources(found.pop("content")[0], **found)
    sources.check_counts()
    return sources


def regions(
    sources: Sources, content: Tensor, styles: Sequence[Tensor]
) -> Tensor | tuple[Style, ...]:
    """What a `Transfer` takes as its style: an image, or several styles with their masks.

    Raises:
        ImageError, SettingError: for a mask that cannot be used; the message names its file.
    """
    count = max(len(styles), len(sources.content_mask))
    if count == 1 and not sources.content_mask:
        return styles[0]
    every = tuple(styles) * (count if len(styles) == 1 else 1)
    where = [_mask(each, content) for each in sources.content_mask] or [None] * count
    pairs = zip(sources.style_mask, every, strict=False)
    taken = [_mask(each, image) for each, image in pairs] or [None] * count
    rows = zip(every, where, taken, strict=True)
    return tuple(Style(image, 1.0, here, there) for image, here, there in rows)


def _mask(source: Source, image: Tensor) -> Tensor:
    """The mask in a file, `(1, 1, H, W)`, checked against its image."""
    found = images.load_image(source.path)
    if float((found.amax(1) - found.amin(1)).max()) > GREY:
        raise ImageError(f"{source.name} has colours; a mask is a grey image, white where it holds")
    mask = shown(found, views(["luminance"], found))[:, :1].clamp(0, 1)
    check_mask(mask, image, source.name)
    return mask


def _find(name: str) -> Path:
    """The file `name` if there is one, else the gallery's image of that name."""
    if Path(name).exists():
        return Path(name)
    if name in gallery.names():
        return gallery.path(name)
    known = ", ".join(gallery.names())
    raise ImageError(f"{name} does not exist; give an image file or one of {known}")


def given(arguments: Namespace, files: Sources) -> dict[str, object]:
    """The settings that the arguments name, with the file of the start where it was found.

    They hold over those of a preset.
    """
    named = {name: getattr(arguments, name) for name in OPTIONS}
    if files.start:
        named["init"] = str(files.start[0].path.absolute())
    preset = PRESETS[arguments.preset] if arguments.preset else {}
    return preset | {name: value for name, value in named.items() if value is not None}
