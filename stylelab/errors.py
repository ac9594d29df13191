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
