"""Training images: which are held out, and random crops of the others."""

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
        whole = [to_dtype(load_image(file)[0], torch.uint8, scale=True) for file in files]
        halves = [resize(image, [side // 2 for side in image.shape[1:]]) for image in whole]
        self.images = [image for image in whole + halves if min(image.shape[1:]) >= size]
        if not self.images:
            raise SettingError(f"no training image has a side of {size} pixels or more")
        floats = v2.ToDtype(torch.float32, scale=True)
        jitter = v2.ColorJitter(brightness=0.3, contrast=0.2, saturation=0.2, hue=0.05)
        self.augment = v2.Compose([v2.RandomCrop(size), v2.RandomHorizontalFlip(), floats, jitter])

    def batch(self, count: int, seed: int) -> Tensor:
        """`(count, 3, size, size)` in [0, 1]: crops, a quarter blended with noise or another crop.

        An optimisation that begins at white noise passes through images that no camera takes. The
        blended quarter prepares the student for them.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            chosen = torch.randint(len(self.images), (count,))
            crops = torch.stack([self.augment(self.images[index]) for index in chosen])
            blended = count // 4
            other = torch.rand_like(crops[:blended])
            other[1::3] = crops[blended : 2 * blended][1::3]
            crops[:blended] = crops[:blended].lerp(other, torch.rand(blended, 1, 1, 1))
        return crops.contiguous(memory_format=torch.channels_last)
