"""Files on this computer: the cache folder, hashes, readable files, and writing all or nothing."""

import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stylelab.errors import StylelabError

ASSETS = Path(__file__).resolve().parents[1] / "assets"  # what ships with the package


def cache_dir() -> Path:
    """The folder of downloaded files: `$STYLELAB_CACHE`, or the user's cache folder.

    Files already in it, under the names of `assets/gallery.json` and with their hashes, need no
    download; another file of such a name is kept as NAME.old when the right one takes its place.
    """
    if chosen := os.environ.get("STYLELAB_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("stylelab", appauthor=False, opinion=False)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable(path: str | os.PathLike[str], error: type[StylelabError], kind: str) -> Path:
    """`path` with `~` expanded, if it is a file with content that can be read.

    Otherwise `error` is raised, with a message that says why and asks for `kind`, such as
    "an image file".
    """
    path = Path(os.path.expanduser(path))
    try:
        found = path.stat()
        if is_file := stat.S_ISREG(found.st_mode):  # reading a pipe or a device might never end
            path.open("rb").close()
    except FileNotFoundError:
        raise error(f"{path} does not exist; name {kind}") from None
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}); name {kind}") from problem
    except ValueError:  # a NUL, or characters that the file system cannot encode
        raise error(f"{str(path)!r} is not a possible file name; name {kind}") from None
    if not is_file:
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise error(f"{path} is {what}; name {kind}")
    if not found.st_size:  # so are the files of /proc
        raise error(f"{path} is an empty file; name {kind}")
    return path


@contextmanager
def atomic(
    path: str | os.PathLike[str], error: type[StylelabError] = StylelabError
) -> Iterator[Path]:
    """A temporary path beside `path`: what is written to it becomes `path`, whole or not at all.

    Missing folders are made. After any exception the temporary file is gone and `path` as it was.

    Raises:
        StylelabError: (or the given `error`) if the file system refuses.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path} cannot be written ({reason}); choose another place") from problem
    finally:
        with suppress(OSError):
            temporary.unlink()
