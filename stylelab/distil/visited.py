"""Images that optimisations pass through, to train on.

Photographs are not all that a network for style transfer must know: an optimiser leads it to images
that no camera takes. These are the iterates of transfers and reconstructions, from noise and from a
photograph, by the teacher or by the student as it is.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from stylelab.description import Transfer
from stylelab.distil import readouts
from stylelab.distil.crops import Crops
from stylelab.errors import SettingError
from stylelab.files.local import atomic
from stylelab.lbfgs import State
from stylelab.optimisation import Run, optimise
from stylelab.parametrisation import FREQUENCIES, PIXELS
from stylelab.synthesis import transfer_objective, transfer_start
from stylelab.vgg import VGG

KEPT = (2, 6, 15, 30, 60)  # steps whose images are kept
RATIOS = (0.0, 1e-4, 1e-3, 1e-2, 1e-3, 1e-2, 1e-1, 1e2)  # from style alone to content alone
COUNT = 8  # optimisations in a visit


class Visited:
    """The images visited in the course of a training run, kept in files of a folder.

    Args:
        teacher: the teacher of the run.
        folder: where the images are kept.
        steps: those before which the run visited before it was interrupted; files of other steps
            are of other runs.

    Raises:
        SettingError: if the file of a step is missing.
    """

    def __init__(self, teacher: VGG, folder: Path, steps: Iterable[int]) -> None:
        self.teacher, self.folder, self.images = teacher, folder, []
        for file in map(self._file, steps):
            if not file.exists():
                raise SettingError(f"{file} is missing; without it the run cannot be continued")
            self.images += load_file(file)["images"]

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:07}.safetensors"

    def update(self, step: int, crops: Crops, student: VGG, files: Sequence[Path]) -> None:
        """Visit with the teacher and with the student as it is at `step`, and keep the images.

        The student's readouts are fitted to a few of the training `files` first.
        """
        student = copy.deepcopy(student).requires_grad_(False)
        readouts.attach(
            student, readouts.fit(student, self.teacher, files[::30]), self.teacher.units
        )
        found = []
        for number, network in enumerate([self.teacher, student]):
            seed = 2 * step + number
            contents, styles = crops.plain(2 * COUNT, seed, crops.size * 3 // 2).chunk(2)
            found.append(visit(network, contents, styles, step // 2 + number))
        images = torch.cat(found)
        with atomic(self._file(step)) as path:
            path.write_bytes(save({"images": images}))
        self.images += images


def visit(network: VGG, contents: Tensor, styles: Tensor, seed: int) -> Tensor:
    """The images on the way of eight optimisations or more, `(5 N, 3, H, W)`, in 8 bits.

    Args:
        network: what is optimised on; it must measure style at its readouts or features.
        contents, styles: `(N, 3, H, W)`, sRGB in [0, 1].
        seed: of the noise; even seeds move pixels, odd ones frequencies.
    """
    transfers = [
        Transfer(
            content[None],
            style[None],
            alpha_beta=RATIOS[number % len(RATIOS)],
            init="noise" if (number + seed // 2) % 2 else "content",
            seed=1000 * seed + number,
        )
        for number, (content, style) in enumerate(zip(contents, styles, strict=True))
    ]
    found = []

    def keep(run: Run, states: Iterator[State]) -> Iterator[State]:
        for state in states:
            if state.step in KEPT:
                found.append((state.image.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
            yield state

    optimise(
        transfer_objective(network, transfers),
        transfer_start(network, transfers),
        KEPT[-1],
        parametrisation=FREQUENCIES if seed % 2 else PIXELS,
        hooks=[keep],
        progress=False,
    )
    return torch.cat(found)
