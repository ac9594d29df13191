"""What a batch is to make: each combination of photograph, painting and settings once.

A picture is known by its *key*, the hash of all that it is made from: the files' contents, the
settings and the network. So a batch that is run again knows what it has already.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files.local import readable, sha256_of
from stylelab.runs.settings import OPTIONS, Settings

IMAGES = re.compile(r"\.(png|jpe?g|tiff?|webp|gif|bmp|avif|jp2|j2k|hei[cf])", re.IGNORECASE)
SPELLINGS = {each: name for name, option in OPTIONS.items() for each in (name, option.also) if each}
PREVIOUS = "previous"  # the start of a frame: the picture made of the frame before it
Choices = Mapping[str, Sequence[object]]  # settings by name, and the values of each to combine


@dataclass(frozen=True)
class Picture:
    """One picture to make.

    Attributes:
        content, style, start: image files; the start only where it is a file.
        settings: its own; `init` is "content" where there is a start.
        before: the key of the picture that it starts from, if it is a frame of a film.
        film: the film's name, if it is one of its frames.
    """

    content: Path
    style: Path
    settings: Settings
    start: Path | None = None
    before: str = ""
    film: str = ""

    @cached_property
    def key(self) -> str:
        """The SHA-256 of all that the picture is made from."""
        made_from = {
            "content": known_sha256(self.content),
            "style": known_sha256(self.style),
            "start": known_sha256(self.start) if self.start else self.before,
            "settings": {**self.settings.as_dict(), "network": ""},
            "network": identity(self.settings.network),
        }
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of its files: readable, and another one for every key or frame."""
        if self.film:
            return f"{self.film}/{_plain(self.content.stem)}"
        return f"{_plain(self.content.stem)}-{_plain(self.style.stem)}-{self.key[:12]}"


def known_sha256(path: Path) -> str:
    """The SHA-256 of a file, which is not read again while it is not written to."""
    found = path.stat()
    return _sha256(path, found.st_mtime_ns, found.st_size)


@cache
def _sha256(path: Path, *written: int) -> str:
    return sha256_of(path)


def _plain(text: str) -> str:
    return re.sub(r"[^\w+-]", "_", text)[:60]


@cache
def identity(network: str) -> str:
    """What a network is: the hash of its file, or the name of one that has none."""
    from stylelab import networks  # brings PyTorch

    if network in networks.names() and networks.info(network).file is not None:
        return networks.info(network).sha256
    return network if network.startswith("random") else known_sha256(Path(network))


def combined(
    contents: Sequence[Path], styles: Sequence[Path], choices: Choices
) -> Iterator[Picture]:
    """Every photograph in every style with every combination of the choices."""
    for content, style in itertools.product(contents, styles):
        for settings in _settings({}, choices):
            yield _picture(content, style, settings)


def frames(contents: Sequence[Path], styles: Sequence[Path], choices: Choices) -> Iterator[Picture]:
    """The frames of a film in every style: each starts from the picture of the frame before it.

    The first starts from itself. SettingError for two frames of one name, such as 1.png and 1.jpg.
    """
    names = [_plain(content.stem) for content in contents]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SettingError(f"two frames are called {twice[0]}; give each a name of its own")
    for style, settings in itertools.product(styles, list(_settings({}, choices))):
        before = film = ""
        for content in contents:
            picture = replace(_picture(content, style, settings), before=before)
            before, film = picture.key, film or f"{_plain(style.stem)}-{picture.key[:12]}"
            yield replace(picture, film=film)


def read(plan: Path, choices: Choices) -> Iterator[Picture]:
    """The pictures of a table: a row for each, a column for each thing that differs.

    The table is CSV or TSV with the columns `content` and `style`, files beside the table or names
    of the gallery, and any settings. What a row does not say, the choices do.

    Raises:
        SettingError, ImageError: for a row that cannot be; the message names it.
    """
    with _named_errors(plan):
        text = readable(plan, SettingError, "a table (CSV)").read_text(encoding="utf-8-sig")
        lines = text.splitlines()
        head = lines[0] if lines else ""
        delimiter = max("\t;,", key=head.count)
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
        columns = [each.strip().lower().replace("-", "_") for each in rows[0]] if rows else []
        known = {"content", "style", *SPELLINGS} - {"style_weights"}
        if unknown := [name for name in columns if name not in known]:
            raise SettingError(
                f"there is no column {unknown[0]!r}; the columns are content, style and any of "
                f"{', '.join(sorted(known - {'content', 'style'}))}"
            )
        if not {"content", "style"} <= set(columns) or len(set(columns)) < len(columns):
            raise SettingError("the first line must name the columns, once each: content,style,...")
    for number, row in enumerate(rows[1:], 2):
        with _named_errors(plan, f"row {number}"):
            if not any(map(str.strip, row)):
                continue
            if len(row) > len(columns):
                raise SettingError(f"{len(row)} values for {len(columns)} columns")
            values = {n: v.strip() for n, v in zip(columns, row, strict=False) if v.strip()}
            files = []
            for role in ("content", "style"):
                if role not in values:
                    raise SettingError(f"{role} is empty; name an image file")
                files.append(find(values.pop(role), plan.parent))
            given = {SPELLINGS[n]: _read(SPELLINGS[n], v, plan.parent) for n, v in values.items()}
            found = [_picture(*files, settings) for settings in _settings(given, choices)]
        yield from found


def once(pictures: Iterable[Picture]) -> list[Picture]:
    """The pictures, each once; SettingError if there are none."""
    found = {picture.key: picture for picture in pictures}
    if not found:
        raise SettingError("there is nothing to make: the plan has no rows")
    return list(found.values())


def images_of(names: Sequence[str]) -> list[Path]:
    """The image files that names of files, of folders and of the gallery's images stand for.

    A folder's are in the order of their names, numbers in them by their value.
    """
    found: list[Path] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(find(name))
            continue
        inside = [each for each in folder.iterdir() if IMAGES.fullmatch(each.suffix)]
        inside = [each for each in inside if each.is_file() and not each.name.startswith(".")]
        if not inside:
            raise ImageError(f"{folder} holds no images; name a folder of images, or image files")
        found += sorted(inside, key=_natural)
    return found


def find(name: str, beside: Path = Path()) -> Path:
    """The file `name`, or the gallery's image of that name.

    Raises:
        ImageError: if it is neither, or cannot be read.
    """
    from stylelab import gallery  # brings PyTorch

    path = beside / Path(name).expanduser()
    if not path.exists() and name in gallery.names():
        return gallery.path(name)
    return readable(path, ImageError, "an image file, or an image of the gallery")


def _read(name: str, text: str, beside: Path) -> object:
    """A setting of a plan, of which files are beside the plan."""
    value = OPTIONS[name].read(text, name)
    if name == "init" and value not in OPTIONS["init"].choices:
        return str(find(text, beside))
    if name == "network":
        from stylelab import networks
        from stylelab.runs.notebooks import is_named

        if not is_named(text):
            if not (path := beside / text).exists():
                networks.info(text)  # says which there are
            return str(readable(path, SettingError, "a network or a file of weights"))
    return value


def _settings(given: Mapping[str, object], choices: Choices) -> Iterator[Settings]:
    """Settings with what is given, and each combination of the choices for the others."""
    if given.get("strength") is not None and given.get("alpha_beta") is not None:
        raise SettingError("give strength or alpha_beta, not both")
    dials = {"strength", "alpha_beta"}
    open_ = {n: v for n, v in choices.items() if n not in given}
    if dials & set(given):  # either decides about both
        open_ = {n: v for n, v in open_.items() if n not in dials}
    for values in itertools.product(*open_.values()):
        chosen = {**dict(zip(open_, values, strict=True)), **given}
        yield Settings(**{name: value for name, value in chosen.items() if value is not None})


def _picture(content: Path, style: Path, settings: Settings) -> Picture:
    if settings.start_file is None:
        return Picture(content, style, settings)
    start = readable(settings.start_file, ImageError, "an image to start from")
    return Picture(content, style, replace(settings, init="content"), start)


@contextmanager
def _named_errors(plan: Path, row: str = "") -> Iterator[None]:
    """Errors that name the plan and the row."""
    where = f"{plan}, {row}" if row else str(plan)
    try:
        yield
    except StylelabError as error:
        raise type(error)(f"{where}: {error}") from None
    except (csv.Error, UnicodeError) as error:
        raise SettingError(f"{where}: it is no table that can be read ({error})") from None


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """So that frame 2 comes before frame 10."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part.lower()) for part in parts if part]
