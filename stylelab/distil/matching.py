"""The errors that training lowers: how well a student predicts its teacher's features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylelab import networks
from stylelab.errors import SettingError
from stylelab.losses import content_loss, gram_matrix
from stylelab.vgg import LAYERS, VGG

# Just wide enough for the active filters of a VGG-19 of quarter width (see `is_silent`).
WIDTHS = (16, 16, 28, 32, 60, 44, 36, 36, 80, 80, 64, 120, 100)
STUDENT_WIDTHS = dict(zip(LAYERS, WIDTHS, strict=False))


def build_student(pooling: str, seed: int = 0) -> VGG:
    """A student with random weights (He initialisation), ready to be trained.

    Its `pooling` should be its teacher's, "avg" or "max": with another one it cannot compute what
    the teacher does.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = VGG(STUDENT_WIDTHS, padding="reflect", pooling=pooling, name="student")
        for layer in student.layers:
            conv = student.get_submodule(layer).requires_grad_(True)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
    student.input.load_state_dict(networks.imagenet_input())
    return student


@torch.no_grad()
def inherit(student: VGG, earlier: VGG) -> None:
    """Give `student` the weights of an `earlier` one; filters that it lacked have no effect yet.

    Raises:
        SettingError: if a layer of `earlier` is wider, or one is missing.
    """
    if earlier.layers != student.layers or any(
        earlier.widths[layer] > width for layer, width in student.widths.items()
    ):
        raise SettingError(f"{earlier.name} is no earlier student: its layers are others, or wider")
    for layer in student.layers:
        new, old = student.get_submodule(layer), earlier.get_submodule(layer)
        count, maps = old.weight.shape[:2]
        new.weight[:count] = 0.0
        new.weight[:count, :maps], new.bias[:count] = old.weight, old.bias


def is_silent(features: Tensor) -> Tensor:
    """Per filter of `(N, C, H, W)`: is its mean at most a hundredth of its layer's mean?"""
    mean = features.mean((0, 2, 3))
    return mean <= 0.01 * mean.mean()


class LayerTarget:
    """What the student predicts at a layer: the teacher's filters that are not silent.

    Each is divided by its standard deviation over sample images, of which the teacher's `features`
    `(N, C, H, W)` are given. Where the teacher has a `readout` `(m, C + 1)`, errors of features and
    of Gram matrices are measured in its space too, as shares of their variances there.
    """

    def __init__(self, features: Tensor, readout: Tensor | None) -> None:
        self.active = (~is_silent(features)).nonzero()[:, 0]
        deviation = features[:, self.active].std((0, 2, 3))
        self.scale = 1 / deviation.clamp_min(0.1 * deviation.mean())
        self.readout = None
        if readout is not None:
            matrix = torch.cat([readout[:, self.active] / self.scale, readout[:, -1:]], 1)
            self.readout = torch.linalg.qr(matrix).R  # keeps all distances
            target = self.of(features)
            self.readout /= self.readout_error(target.mean((0, 2, 3), keepdim=True), target).sqrt()
            self.gram_variance = self.gram(target).var(0, correction=0).mean()

    def of(self, features: Tensor) -> Tensor:
        """The target `(N, len(active), H, W)` out of the teacher's features."""
        return features[:, self.active] * self.scale[:, None, None]

    def gram(self, target: Tensor) -> Tensor:
        """Gram matrices over M_l, in the readout's space."""
        return gram_matrix(target, self.readout) / target[0, 0].numel()

    def readout_error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean squared error in the readout's space over the variance there."""
        return 2 * content_loss(predicted, target, self.readout).mean() / target[0, 0].numel()

    def gram_error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the Gram matrices there, over their variance."""
        return F.mse_loss(self.gram(predicted), self.gram(target)) / self.gram_variance


class FeatureMatching(nn.Module):
    """Student, taps and targets: everything whose error training lowers.

    The student predicts the targets with its first filters and is free to use the others as it
    likes. A student too narrow for that predicts them through a linear *tap*. The targets are
    measured on `sample`, training crops `(N, 3, H, W)`, sRGB in [0, 1].
    """

    def __init__(self, student: VGG, teacher: VGG, sample: Tensor) -> None:
        super().__init__()
        self.student, self.taps, self.targets = student, nn.ModuleDict(), {}
        self.teacher = (teacher,)  # in a tuple: its weights are not this module's
        self.layers = [layer for layer in student.layers if layer in teacher.layers]
        for layer, features in teacher(sample, self.layers).items():
            self.targets[layer] = LayerTarget(features, teacher.readout(layer))
            if student.widths[layer] < (count := len(self.targets[layer].active)):
                self.taps[layer] = nn.Conv2d(student.widths[layer], count, 1, device=sample.device)

    def errors(self, image: Tensor, teacher_forcing: bool = False) -> dict[str, Tensor]:
        """Per target, the mean squared error over its variance, on `image` `(N, 3, H, W)`.

        In training, errors of filters are taken before the ReLU where the target is active: they
        are then convex in the filter's weights, and no filter dies. With `teacher_forcing`, each
        layer is fed the teacher's features, where the widths allow it.
        """
        errors, x = {}, self.student.input(image)
        for layer, features in self.teacher[0](image, self.layers).items():
            z, measure = self.student.convolve(layer, x), self.targets[layer]
            target, count, x = measure.of(features), len(measure.active), F.relu(z)
            predicted = judged = self.taps[layer](x) if layer in self.taps else x[:, :count]
            if self.training and layer not in self.taps:
                judged = torch.where(target > 0, z[:, :count], predicted)
            errors[layer] = (judged - target).square().mean()
            if measure.readout is not None:
                errors[f"{layer} readout"] = measure.readout_error(judged, target)
                if not teacher_forcing:
                    errors[f"{layer} gram"] = measure.gram_error(predicted, target)
            if teacher_forcing and layer not in self.taps:
                x = torch.cat([target, x[:, count:]], 1)
        return errors

    @torch.no_grad()
    def revive_silent_filters(self, image: Tensor, seed: int) -> None:
        """Give free filters that are silent on `image` `(N, 3, H, W)` new random weights.

        Before the ReLU their responses then have mean 0 and deviation 1. The next layer ignores
        them until it learns otherwise.
        """
        noise, x = torch.Generator().manual_seed(seed), self.student.input(image)
        for layer, following in zip(self.student.layers, self.student.layers[1:], strict=False):
            conv = self.student.get_submodule(layer)
            silent = is_silent(F.relu(self.student.convolve(layer, x)))
            if layer in self.layers:
                silent[: len(self.targets[layer].active)] = False
            if silent.any():
                weight = torch.randn(conv.weight[silent].shape, generator=noise)
                conv.weight[silent], conv.bias[silent] = weight.to(conv.weight), 0.0
                maps = self.student.convolve(layer, x)[:, silent]
                deviation, mean = torch.std_mean(maps, (0, 2, 3))
                conv.weight[silent] /= deviation[:, None, None, None]
                conv.bias[silent] = -mean / deviation
                self.student.get_submodule(following).weight[:, silent] = 0.0
            x = F.relu(self.student.convolve(layer, x))

    def parameter_groups(self, rate: float) -> list[dict]:
        """Groups for Adam: a layer learns at `rate` times the He deviation of its weights."""
        convs = [(self.student.get_submodule(layer), 2) for layer in self.student.layers]
        convs += [(tap, 1) for tap in self.taps.values()]
        return [
            {"params": list(conv.parameters()), "lr": rate * (gain / conv.weight[0].numel()) ** 0.5}
            for conv, gain in convs
        ]
