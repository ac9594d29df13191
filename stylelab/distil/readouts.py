"""Fitting a student network's readouts to its teacher, and measuring how well the two agree.

A readout (see `stylelab.vgg`) maps the student's features, with a constant 1, to the space in which
the teacher measures. It is fitted by least squares, and shipped as the triangular factor of the
fitted matrix, which keeps all distances and is no larger than the student.
"""

import json
import random
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


def _wanted(teacher: VGG, layer: str, features: Tensor) -> Tensor:
    """What a readout at `layer` is to give: the teacher's features or readout, `(m, H W)`."""
    readout = teacher.readout(layer)
    rows = _with_ones(features)
    return rows[:-1] if readout is None else readout.cpu().double() @ rows


@torch.no_grad()
def _pairs(
    student: VGG, teacher: VGG, files: Sequence[Path], size: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each layer of each image: its name, the student's features with ones, what is wanted."""
    layers = [layer for layer in student.layers if layer in teacher.layers]
    for file in files:
        image = load_image(file, size).to(student.input.weight.device)
        found, targets = student(image, layers), teacher(image, layers)
        for layer in layers:
            yield layer, _with_ones(found[layer]), _wanted(teacher, layer, targets[layer])


def fit(student: VGG, teacher: VGG, files: Sequence[Path], size: int = 256) -> dict[str, Tensor]:
    """Least-squares readouts of `student`, on images at `size` pixels: `(m, N_l + 1)` per layer."""
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for layer, x, y in _pairs(student, teacher, files, size):
        products = (x @ x.T / x.shape[1], x @ y.T / x.shape[1])
        before = sums.get(layer, (0, 0))
        sums[layer] = tuple(a + b for a, b in zip(before, products, strict=True))
    fitted = {}
    for layer, (squares, cross) in sums.items():
        ridge = 1e-6 * squares.diagonal().mean() * torch.eye(len(squares)).to(squares)
        fitted[layer] = torch.linalg.solve(squares + ridge, cross).T
    return fitted


def align(student: VGG, teacher: VGG, files: Sequence[Path], size: int = 256) -> dict[str, Tensor]:
    """The readouts of a finished student, turned to where they come nearest to the teacher's.

    A readout R is stored up to a rotation, which no distance depends on. To predict the teacher's
    features themselves, Q R with the orthonormal Q that fits best on `files` is needed (orthogonal
    Procrustes problem): `(m, N_l + 1)` per layer.
    """
    crosses: dict[str, Tensor] = {}
    for layer, x, y in _pairs(student, teacher, files, size):
        crosses[layer] = crosses.get(layer, 0) + y @ x.T / x.shape[1]
    aligned = {}
    for layer, cross in crosses.items():
        readout = student.readout(layer).cpu().double()
        u, _, v = torch.linalg.svd(cross @ readout.T, full_matrices=False)
        aligned[layer] = u @ v @ readout
    return aligned


def relative_errors(
    student: VGG,
    fitted: Mapping[str, Tensor],
    teacher: VGG,
    files: Sequence[Path],
    size: int = 256,
) -> dict[str, float]:
    """Per layer, mean squared error of the readout over the teacher's variance, over all images."""
    sums = {layer: [0.0, 0.0, 0.0, 0] for layer in fitted}
    for layer, x, y in _pairs(student, teacher, files, size):
        miss = (fitted[layer] @ x - y).square().sum()
        for i, value in enumerate((miss, y.square().sum(), y.sum(1), y.shape[1])):
            sums[layer][i] = sums[layer][i] + value
    return {
        layer: float(miss / (squares - total.square().sum() / count))
        for layer, (miss, squares, total, count) in sums.items()
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
        image = load_image(file, size).to(student.input.weight.device)
        grams.append([style_representation(net, image, STYLE_LAYERS) for net in (student, teacher)])
    dice = random.Random(0)
    chosen = [dice.sample(range(len(files)), 2) for _ in range(pairs)]
    agreement = {}
    for layer in STYLE_LAYERS:
        distances = torch.tensor(
            [[(a[layer] - b[layer]).norm() for a, b in zip(grams[i], grams[j], strict=True)]
             for i, j in chosen]
        )  # fmt: skip
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
        factor = factor.float().to(network.input.weight.device)
        network.readouts[layer] = nn.Parameter(factor, requires_grad=False)


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
