"""Fitting a student's readouts to its teacher, and measuring how well the two agree.

A readout (see `stylelab.vgg`) maps the student's features, with a constant 1, to the space in which
the teacher measures. It is fitted by least squares and stored as the triangular factor of the
fitted matrix, which keeps all distances and is no larger than the student.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylelab.files.local import atomic
from stylelab.images import load_image
from stylelab.objective import style_representation
from stylelab.vgg import STYLE_LAYERS, VGG

SIZE = 256  # longer side in pixels of the images that a readout is fitted and measured on


def _with_ones(features: Tensor) -> Tensor:
    """`(1, C, H, W)` to `(C + 1, H W)`, in float64, the last row ones."""
    return F.pad(features[0].flatten(1).cpu().double(), (0, 0, 0, 1), value=1.0)


@torch.no_grad()
def moments(student: VGG, teacher: VGG, files: Sequence[Path]) -> dict[str, Tensor]:
    """Second moments X X^T `(N_l + 1 + m, N_l + 1 + m)`, in float64, at each layer that both have.

    The columns of X are the positions of all images. Its rows are the student's N_l features, ones,
    and what a readout should make of these: the teacher's m features, or its own readout of them.
    """
    layers = [layer for layer in student.layers if layer in teacher.layers]
    sums = defaultdict(int)
    for file in files:
        image = load_image(file, SIZE).to(student.device)
        found, wanted = student(image, layers), teacher(image, layers)
        for layer in layers:
            target, readout = _with_ones(wanted[layer]), teacher.readout(layer)
            target = target[:-1] if readout is None else readout.cpu().double() @ target
            rows = torch.cat([_with_ones(found[layer]), target])
            sums[layer] += rows @ rows.T
    return sums


def fit(student: VGG, teacher: VGG, files: Sequence[Path]) -> dict[str, Tensor]:
    """Least-squares readouts of `student` on images: `(m, N_l + 1)` per layer, in float64."""
    fitted = {}
    for layer, matrix in moments(student, teacher, files).items():
        n = student.widths[layer] + 1
        matrix.diagonal()[:n] += 1e-6 * matrix.diagonal()[:n].mean()  # a ridge
        fitted[layer] = torch.linalg.solve(matrix[:n, :n], matrix[:n, n:]).T
    return fitted


def relative_errors(
    student: VGG, fitted: Mapping[str, Tensor], teacher: VGG, files: Sequence[Path]
) -> dict[str, float]:
    """Per layer, mean squared error of the readout over the teacher's variance, over all images."""
    errors = {}
    for layer, matrix in moments(student, teacher, files).items():
        m, n = fitted[layer].shape
        miss = torch.cat([fitted[layer], -torch.eye(m).double()], 1)
        variance = matrix[n:, n:].trace() - matrix[n:, n - 1].square().sum() / matrix[n - 1, n - 1]
        errors[layer] = float((miss @ matrix @ miss.T).trace() / variance)
    return errors


def style_agreement(
    student: VGG, teacher: VGG, files: Sequence[Path], pairs: int = 200
) -> dict[str, dict[str, float]]:
    """Over random pairs of images, the student's Gram distances ||G - A|| against the teacher's.

    Per style layer, their "correlation", 0 where it is undefined, and the "ratio" of their means.
    """
    grams, maker, agreement = [], torch.Generator().manual_seed(0), {}
    for file in files:
        image = load_image(file, SIZE).to(student.device)
        grams.append([style_representation(net, image, STYLE_LAYERS) for net in (student, teacher)])
    chosen = torch.rand(pairs, len(grams), generator=maker).topk(2).indices.tolist()
    for layer in STYLE_LAYERS:
        distances = torch.tensor(
            [[(grams[i][n][layer] - grams[j][n][layer]).norm() for i, j in chosen] for n in (0, 1)]
        )
        ours, theirs = distances.mean(1)
        correlation = torch.corrcoef(distances)[0, 1].nan_to_num()  # of one pair there is none
        agreement[layer] = {"correlation": float(correlation), "ratio": float(ours / theirs)}
    return agreement


@torch.no_grad()
def attach(network: VGG, fitted: Mapping[str, Tensor], units: Mapping[str, int]) -> None:
    """Give `network` the triangular factors of `fitted` as its readouts, counting as `units`."""
    for layer, matrix in fitted.items():
        factor = torch.linalg.qr(matrix).R.float().to(network.device)
        network.units[layer], network.readouts[layer] = units[layer], nn.Parameter(factor, False)


def save(network: VGG, path: Path, notes: Mapping[str, object]) -> None:
    """Write `network` as a `.safetensors` file that `stylelab.networks.load` reads.

    Convolutions are stored in half precision, readouts in full. `notes` go into the header.
    """
    tensors = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
    tensors |= {key: tensors[key].half() for key in tensors if not key.startswith("readouts.")}
    header = {"padding": network.padding, "pooling": network.pooling, "units": network.units}
    with atomic(path) as file:
        metadata = {"stylelab": json.dumps(header | dict(notes), sort_keys=True)}
        file.write_bytes(safetensors.torch.save(tensors, metadata))
