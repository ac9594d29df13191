"""Errors whose message is meant for the user."""


class StylelabError(Exception):
    """An error whose message is meant for the user: the command line prints it as one line."""


class ImageError(StylelabError, ValueError):
    """An image file or image tensor is not what it should be."""


class DownloadError(StylelabError, OSError):
    """A file could not be downloaded or is not the expected one."""


class NetworkError(StylelabError, ValueError):
    """A network, its weights or its layers are not what they should be."""


class SettingError(StylelabError, ValueError):
    """An argument is out of its range."""


def check_number(value: object, name: str, most: float, whole: bool = False) -> None:
    """Raise SettingError unless `value` is a number, a `whole` one if asked, from 0 to `most`."""
    if type(value) not in ((int,) if whole else (int, float)) or not 0 <= value <= most:
        kind = "whole number" if whole else "number"
        raise SettingError(f"{name} must be a {kind} from 0 to {most:g}, got {value!r}")
