"""Training images: which are held out, and random crops of the others."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize, to_dtype

from stylelab.errors import SettingError
from stylelab.images import load_image

HELD_OUT = 20  # every 20th image by name


def split(folder: Path) -> tuple[list[Path], list[Path]]:
    """(training files, held-out files) of a folder.

    Images that look like a held-out one are in neither list: no copy of a held-out image is trained
    on. Two images look alike if their thumbnails of 16 x 16 pixels correlate above 0.97.

    Raises:
        SettingError: if the folder holds fewer than 40 images.
    """
    files = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in (".jpg", ".png"))
    if len(files) < 2 * HELD_OUT:
        raise SettingError(
            f"{folder} holds {len(files)} images (JPEG or PNG); give at least {2 * HELD_OUT}"
        )
    thumbs = torch.stack([F.adaptive_avg_pool2d(load_image(f)[0], 16).flatten() for f in files])
    thumbs = F.normalize(thumbs - thumbs.mean(1, keepdim=True))
    likeness = (thumbs @ thumbs[::HELD_OUT].T).amax(1)  # a held-out image is its own copy
    train = [file for file, like in zip(files, likeness, strict=True) if like <= 0.97]
    return train, files[::HELD_OUT]


class Crops:
    """Random crops of images, which are kept in memory in 8 bits at full and at half size."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.size = size
        whole = [to_dtype(load_image(file)[0], torch.uint8, scale=True) for file in files]
        halves = [resize(image, [side // 2 for side in image.shape[1:]]) for image in whole]
        self.images = _large_enough(whole + halves, size)
        self.jitter = v2.ColorJitter(brightness=0.3, contrast=0.2, saturation=0.2, hue=0.05)

    def plain(self, count: int, seed: int, size: int) -> Tensor:
        """Random crops as they are, `(count, 3, size, size)` in [0, 1]."""
        return _random_crops(_large_enough(self.images, size), count, seed, size)

    def batch(self, count: int, seed: int, visited: Sequence[Tensor] = ()) -> Tensor:
        """`(count, 3, size, size)` in [0, 1]: crops of photographs and of `visited` images.

        Half are of `visited`, if there are any (see `stylelab.distil.visited`). Of the photographs'
        crops, whose colours vary, a quarter are blended with noise or with another crop.
        """
        crops = _random_crops(self.images, count - count // 2 * bool(visited), seed, self.size)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            crops = torch.stack([self.jitter(crop) for crop in crops])
            blended = len(crops) // 4
            other = torch.rand_like(crops[:blended])
            other[1::3] = crops[blended : 2 * blended][1::3]
            crops[:blended] = crops[:blended].lerp(other, torch.rand(blended, 1, 1, 1))
        if visited:
            crops = torch.cat([crops, _random_crops(visited, count // 2, seed, self.size)])
        return crops.contiguous(memory_format=torch.channels_last)


def _large_enough(images: Sequence[Tensor], size: int) -> list[Tensor]:
    """Those of which a crop can be taken; SettingError if there are none."""
    large = [image for image in images if min(image.shape[1:]) >= size]
    if not large:
        raise SettingError(f"no training image has a side of {size} pixels or more")
    return large


def _random_crops(images: Sequence[Tensor], count: int, seed: int, size: int) -> Tensor:
    """`(count, 3, size, size)` in [0, 1] of images `(3, H, W)` in 8 bits, some of them flipped."""
    crop = v2.Compose([v2.RandomCrop(size), v2.RandomHorizontalFlip()])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        chosen = torch.randint(len(images), (count,))
        crops = torch.stack([crop(images[index]) for index in chosen])
    return to_dtype(crops, torch.float32, scale=True)
