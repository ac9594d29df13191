"""Training images: which are held out, and random crops of the others."""

import random
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.errors import SettingError
from stylelab.images import load_image, resize


def split(folder: Path, every: int = 20) -> tuple[list[Path], list[Path]]:
    """(training files, held-out files): every 20th image by name is held out.

    Training images that look like a held-out one (16 x 16 thumbnails correlating above 0.97) are
    left out of both, so that no copy of a held-out image is trained on.
    """
    files = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in (".jpg", ".png"))
    if len(files) < 2 * every:
        raise SettingError(
            f"{folder} holds {len(files)} images (JPEG or PNG); give at least {2 * every}"
        )
    thumbs = torch.stack([F.adaptive_avg_pool2d(load_image(f)[0], 16).flatten() for f in files])
    thumbs = F.normalize(thumbs - thumbs.mean(1, keepdim=True))
    held = torch.arange(len(files)) % every == 0
    copies = (thumbs @ thumbs[held].T).amax(1) > 0.97
    train = [f for f, skip in zip(files, held | copies, strict=True) if not skip]
    return train, [f for f, is_held in zip(files, held, strict=True) if is_held]


class Crops:
    """Random training crops out of images held in memory as bytes, at two scales."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.size, self.images = size, []
        for file in files:
            image = load_image(file)
            for scale in (1.0, 0.5):
                height, width = (round(scale * side) for side in image.shape[2:])
                if min(height, width) >= size:
                    small = image if scale == 1.0 else resize(image, (height, width))
                    self.images.append((small[0] * 255).round().to(torch.uint8))
        if not self.images:
            raise SettingError(f"no training image has a side of {size} pixels or more")

    def batch(self, count: int, seed: int) -> Tensor:
        """`(count, 3, size, size)`: jittered crops; a quarter drowned in noise or in another crop.

        Optimisation begins at white noise and passes through images no camera takes; without the
        last quarter the student would be a stranger there.
        """
        dice, noise = random.Random(seed), torch.Generator().manual_seed(seed)
        crops = []
        for _ in range(count):
            image = dice.choice(self.images)
            top, left = (dice.randint(0, side - self.size) for side in image.shape[1:])
            crop = image[:, top : top + self.size, left : left + self.size]
            crops.append(crop.flip(2) if dice.random() < 0.5 else crop)
        x = torch.stack(crops).float() / 255

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=noise)

        x = x * uniform(0.7, 1.3, count, 1, 1, 1) * uniform(0.85, 1.15, count, 3, 1, 1)
        x = x + uniform(-0.1, 0.1, count, 1, 1, 1)
        strange = count // 4
        share = uniform(0, 1, strange, 1, 1, 1)
        other = uniform(0, 1, strange, 3, self.size, self.size)
        other[1::3] = x[strange : 2 * strange][1::3]
        x[:strange] = (1 - share) * x[:strange] + share * other
        return x.clamp(0, 1).contiguous(memory_format=torch.channels_last)
