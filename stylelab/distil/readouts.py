"""Fitting a student's readouts to its teacher, and measuring how well the two agree.

A readout (see `stylelab.vgg`) maps the student's features, with a constant 1, to the space in which
the teacher measures. It is fitted by least squares and stored as the triangular factor of the
fitted matrix, which keeps all distances and is no larger than the student.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from stylelab.files.local import atomic
from stylelab.images import load_image
from stylelab.objective import style_representation
from stylelab.vgg import STYLE_LAYERS, VGG


def _with_ones(features: Tensor) -> Tensor:
    """`(1, C, H, W)` to `(C + 1, H W)`, in float64, the last row ones."""
    flat = features[0].flatten(1).cpu().double()  # some devices have no float64
    return torch.cat([flat, torch.ones_like(flat[:1])])


@torch.no_grad()
def features_and_targets(
    student: VGG, teacher: VGG, files: Sequence[Path], size: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """For each image and layer: the layer, the student's features with ones `(C + 1, H W)`, and
    what a readout should make of them, the teacher's features or readout `(m, H W)`."""
    layers = [layer for layer in student.layers if layer in teacher.layers]
    for file in files:
        image = load_image(file, size).to(student.device)
        found, wanted = student(image, layers), teacher(image, layers)
        for layer in layers:
            target, readout = _with_ones(wanted[layer]), teacher.readout(layer)
            target = target[:-1] if readout is None else readout.cpu().double() @ target
            yield layer, _with_ones(found[layer]), target


def fit(student: VGG, teacher: VGG, files: Sequence[Path], size: int = 256) -> dict[str, Tensor]:
    """Least-squares readouts of `student`, on images at `size` pixels: `(m, N_l + 1)` per layer."""
    squares, products = defaultdict(int), defaultdict(int)
    for layer, x, y in features_and_targets(student, teacher, files, size):
        squares[layer] += x @ x.T / x.shape[1]
        products[layer] += x @ y.T / x.shape[1]
    for matrix in squares.values():
        matrix.diagonal().add_(1e-6 * matrix.diagonal().mean())  # a ridge
    return {layer: torch.linalg.solve(squares[layer], products[layer]).T for layer in squares}


def relative_errors(
    student: VGG,
    fitted: Mapping[str, Tensor],
    teacher: VGG,
    files: Sequence[Path],
    size: int = 256,
) -> dict[str, float]:
    """Per layer, mean squared error of the readout over the teacher's variance, over all images."""
    misses, squares, sums, counts = (defaultdict(int) for _ in range(4))
    for layer, x, y in features_and_targets(student, teacher, files, size):
        misses[layer] += (fitted[layer] @ x - y).square().sum()
        squares[layer] += y.square().sum()
        sums[layer] += y.sum(1)
        counts[layer] += y.shape[1]
    return {
        layer: float(misses[layer] / (squares[layer] - sums[layer].square().sum() / counts[layer]))
        for layer in misses
    }


def style_agreement(
    student: VGG, teacher: VGG, files: Sequence[Path], pairs: int = 200, size: int = 256
) -> dict[str, dict[str, float]]:
    """Over random pairs of images, the student's Gram distances ||G - A|| against the teacher's.

    Returns:
        Per style layer, their correlation and the ratio of their means.
    """
    grams = []
    for file in files:
        image = load_image(file, size).to(student.device)
        grams.append([style_representation(net, image, STYLE_LAYERS) for net in (student, teacher)])
    choose = random.Random(0).sample
    chosen = [choose(grams, 2) for _ in range(pairs)]
    agreement = {}
    for layer in STYLE_LAYERS:
        distances = torch.tensor(
            [[(a[layer] - b[layer]).norm() for a, b in zip(*pair, strict=True)] for pair in chosen]
        )
        agreement[layer] = {
            "correlation": float(torch.corrcoef(distances.T)[0, 1]),
            "ratio": float(distances[:, 0].mean() / distances[:, 1].mean()),
        }
    return agreement


@torch.no_grad()
def attach(network: VGG, fitted: Mapping[str, Tensor], units: Mapping[str, int]) -> None:
    """Give `network` the triangular factors of `fitted` as its readouts, counting as `units`."""
    for layer, matrix in fitted.items():
        rows, columns = matrix.shape
        factor = torch.linalg.qr(matrix).R if rows > columns else matrix
        network.units[layer] = units[layer]
        network.readouts[layer] = nn.Parameter(factor.float().to(network.device), False)


def save(network: VGG, path: Path, notes: Mapping[str, object]) -> None:
    """Write `network` as a `.safetensors` file that `stylelab.networks.load` reads.

    Convolutions are stored in half precision, readouts in full. `notes` go into the header.
    """
    tensors = {
        key: (value if key.startswith("readouts.") else value.half()).contiguous().cpu()
        for key, value in network.state_dict().items()
    }
    header = {"padding": network.padding, "pooling": network.pooling, "units": network.units}
    with atomic(path) as file:
        metadata = {"stylelab": json.dumps(header | dict(notes), sort_keys=True)}
        file.write_bytes(safetensors.torch.save(tensors, metadata))
