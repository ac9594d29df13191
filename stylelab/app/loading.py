"""The settings of a saved picture, and its images and masks, back into the controls."""

from pathlib import Path

from stylelab.app import kept
from stylelab.app.controls import Controls
from stylelab.app.phrases import plain_name
from stylelab.app.regions import Painted
from stylelab.errors import ImageError, SettingError
from stylelab.runs.metadata import read_settings


def load(path: Path, folder: Path, controls: Controls) -> str:
    """Show in `controls` what the picture in `path` was made with; what to tell about it.

    Images and masks are looked for among those chosen before, in the gallery, beside the picture
    and in `folder`.

    Raises:
        StylelabError: if the controls cannot show it; nothing is changed then.
    """
    settings, record = read_settings(path)
    styles = record.get("style")
    styles = styles if isinstance(styles, list) else [styles]
    folders = [path.parent, folder]
    if len(styles) > 2 or "strokes" in record:
        raise _too_much(path, "more than two styles, or strokes")
    controls.check(settings)
    missing, painted = [], Painted()
    try:
        painted = kept.read_masks(folders, record)
    except ImageError:
        missing.append("its masks, which are not here")
    except SettingError as error:
        raise _too_much(path, f"other regions than it can paint, as {error}") from error
    sources = [record.get("content"), *styles]
    for choice, source in zip(controls.images, sources, strict=False):
        source = source if isinstance(source, dict) else {}
        if choice.choose_by_hash(str(source.get("sha256"))):
            continue
        if file := kept.source_file(folders, source):
            choice.add(file, plain_name(file.name))
        else:
            missing.append(plain_name(str(source.get("file", choice.role))))
    if len(styles) == 1:
        controls.second_style.choose_none()
    controls.show(settings)
    controls.regions.painted = Painted() if missing else painted
    late = ", as they were after the last change" if record.get("changes") else ""
    more = f". Upload its images too: {', '.join(missing)}" if missing else ""
    return f"Settings of {path.name} loaded{late}{more}."


def _too_much(path: Path, what: str) -> SettingError:
    return SettingError(
        f"{path.name} has {what}, which the playground cannot show; use stylelab transfer "
        f"--settings {path.name}"
    )
