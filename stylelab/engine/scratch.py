"""A `Room` in files: what is as large as a large picture, on a disk in place of memory.

A tensor is a file that is mapped into memory: a tensor like any other, of which only what was
touched lately takes memory. That is let go after each part that is worked on (`rest`); the system
writes it to the disk, and reads it again. A file has no name from its beginning on, so that nothing
is left of it however the process ends.
"""

import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from stylelab.errors import SettingError, StylelabError
from stylelab.room import Room

BLOCK = 2**20  # columns
_LIVE: "weakref.WeakKeyDictionary[mmap.mmap, int]" = weakref.WeakKeyDictionary()  # and its address


class Scratch(Room):
    """Files in `folder`, which is made if it is missing.

        with Scratch("/data/scratch") as scratch:
            content, style = scratch.aside(content), scratch.aside(style)
            result = transfer(network, content, style)

    Results are those in memory, to rounding, as sums are over blocks of columns. A picture of the
    result is in a file, too, which is there as long as the tensor.

    Args:
        folder: on a disk with enough space; one that is kept in memory, a tmpfs, saves none.
        block: columns worked on at a time.

    Raises:
        SettingError: if no file can be made there. StylelabError, later, if the disk is full.
    """

    def __init__(self, folder: str | os.PathLike[str], block: int = BLOCK) -> None:
        self.folder, self.block = Path(folder).expanduser(), block
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except (OSError, ValueError) as error:
            raise SettingError(self._refusal(error, "choose another folder")) from error

    def check_space(self, needed: float) -> None:
        """StylelabError if there are fewer bytes free than `needed`."""
        if (there := shutil.disk_usage(self.folder).free) < needed:
            raise StylelabError(
                f"{self.folder} has {there / 1e9:.1f} GB free, and the pictures may need "
                f"{needed / 1e9:.1f} GB there; name a folder on another disk, or lower --size or "
                "--history"
            )

    def like(self, vector: Tensor, *shape: int) -> Tensor:
        """As `Room.like`, in a file."""
        if vector.device.type != "cpu":
            raise SettingError(f"Scratch is for tensors on the cpu, got one on {vector.device}")
        shape = shape or tuple(vector.shape)
        size = math.prod(shape) * vector.element_size()
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                if hasattr(os, "posix_fallocate"):  # later there would be no error, but a crash
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                else:
                    file.truncate(max(size, 1))
                mapped = mmap.mmap(file.fileno(), max(size, 1))
        except OSError as error:
            advice = f"{size / 1e9:.3g} GB are needed for one file"
            raise StylelabError(self._refusal(error, advice)) from error
        found = torch.frombuffer(mapped, dtype=vector.dtype, count=math.prod(shape)).view(shape)
        _LIVE[mapped] = found.data_ptr()
        return found

    def aside(self, vector: Tensor) -> Tensor:
        """`vector`, of any shape, in a file: a copy, if it is not in one already."""
        at = vector.untyped_storage().data_ptr()
        if any(first <= at < first + len(mapped) for mapped, first in list(_LIVE.items())):
            return vector
        return self.made(torch.clone, vector.reshape(len(vector), -1)).view(vector.shape)

    def blocks(self, vector: Tensor) -> Iterator[slice]:
        """As `Room.blocks`; what a block touched is let go after it."""
        for at in super().blocks(vector):
            yield at
            self.rest()

    def rest(self) -> None:
        """Let go of the memory of all tensors in files; it is read again where it is needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in list(_LIVE):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _refusal(self, error: Exception, advice: str) -> str:
        reason = getattr(error, "strerror", None) or error
        return f"{self.folder} cannot be written ({reason}); {advice}"
