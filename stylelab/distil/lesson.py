"""What a student network is to learn of its teacher: the errors that `stylelab.distil.training` lowers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylelab import networks
from stylelab.vgg import LAYERS, VGG

# Wide enough for the teacher's active filters, with some to spare; about twice that before a
# pooling, where average-pooled filters must stand in for the teacher's max pooling.
STUDENT_WIDTHS = dict(
    zip(LAYERS, (16, 32, 32, 80, 64, 48, 48, 96, 96, 96, 80, 192, 112), strict=False)
)
BEFORE_POOLING = ("conv1_2", "conv2_2", "conv3_4", "conv4_4")
SILENT = 0.01  # a filter with a mean activation of this share of its layer's, or less, is silent


def build_student(seed: int = 0) -> VGG:
    """A student with random weights (He initialisation), ready to be trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = VGG(STUDENT_WIDTHS, padding="reflect", pooling="avg", name="student")
        for layer in student.layers:
            conv = student.get_submodule(layer).requires_grad_(True)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
    student.input.load_state_dict(networks.imagenet_input())
    return student


def _rows(features: Tensor) -> Tensor:
    """`(N, C, H, W)` to `(C, N H W)`."""
    return features.transpose(0, 1).flatten(1)


def _grams(features: Tensor) -> Tensor:
    """Gram matrices over M of the feature maps and a constant one, `(N, C + 1, C + 1)`."""
    flat = features.flatten(2)
    flat = torch.cat([flat, torch.ones_like(flat[:, :1])], 1)
    return flat @ flat.mT / flat.shape[2]


def _size(difference: Tensor, metric: Tensor) -> Tensor:
    """||R D R^T||^2 of symmetric D `(N, m, m)` with `metric` R^T R, mean over N."""
    product = metric @ difference
    return (product * product.mT).sum((1, 2)).mean()


class Lesson(nn.Module):
    """Student, taps and targets: everything whose loss training lowers.

    At each layer the targets are the teacher's filters that are not silent, each divided by its
    standard deviation; the student predicts them with its first filters, and is free to use the
    others as it likes. A student too narrow for that predicts them through a linear *tap*.

    Args:
        student: the network to train.
        teacher: the network to predict.
        sample: `(N, 3, H, W)` training crops from which the targets' scales are measured.
    """

    def __init__(self, student: VGG, teacher: VGG, sample: Tensor) -> None:
        super().__init__()
        self.student, self.taps = student, nn.ModuleDict()
        self.teacher = (teacher,)  # in a tuple: its weights are not this module's
        self.layers = [layer for layer in student.layers if layer in teacher.layers]
        for layer, features in teacher(sample, self.layers).items():
            mean = features.mean((0, 2, 3))
            active = (mean > SILENT * mean.mean()).nonzero()[:, 0]
            rows = _rows(features[:, active])
            deviation = rows.std(1)
            scale = 1 / deviation.clamp_min(0.1 * deviation.mean())
            self.register_buffer(f"{layer}_active", active)
            self.register_buffer(f"{layer}_scale", scale)
            if (readout := teacher.readout(layer)) is not None:
                # Errors in the readout's space, as shares of the variances there.
                matrix = torch.cat([readout[:, active] / scale, readout[:, -1:]], 1)
                metric = matrix.T @ matrix
                covariance = torch.cov(rows * scale[:, None])
                variance = (metric[:-1, :-1] * covariance).sum()
                grams = _grams(features[:, active] * scale[:, None, None])
                spread = _size(grams - grams.mean(0), metric)
                self.register_buffer(f"{layer}_metric", metric[:-1, :-1] / variance)
                self.register_buffer(f"{layer}_gram_metric", metric / spread.sqrt())
            if student.widths[layer] < len(active):
                self.taps[layer] = nn.Conv2d(student.widths[layer], len(active), 1)

    def errors(self, image: Tensor, forced: bool = False) -> dict[str, Tensor]:
        """Per target, the mean squared error over the target's variance, on `(N, 3, H, W)`.

        In training, errors of filters are taken before the ReLU where the target is active: they
        are then convex in the filter's weights, and no filter dies.

        Args:
            image: crops, sRGB in [0, 1].
            forced: feed each layer the teacher's features, where the widths allow it.
        """
        with torch.no_grad():
            targets = self.teacher[0](image, self.layers)
            for layer in self.layers:
                active = targets[layer][:, self.get_buffer(f"{layer}_active")]
                targets[layer] = active * self.get_buffer(f"{layer}_scale")[:, None, None]
        errors, x = {}, self.student.input(image)
        for layer in self.layers:
            z, target = self.student.convolve(layer, x), targets[layer]
            x, count = F.relu(z), target.shape[1]
            if layer in self.taps:
                predicted = judged = self.taps[layer](x)
            else:
                predicted = judged = x[:, :count]
                if self.training:
                    judged = torch.where(target > 0, z[:, :count], predicted)
            miss = _rows(judged - target)
            errors[layer] = miss.square().mean()
            if hasattr(self, f"{layer}_metric"):
                products = miss @ miss.T / miss.shape[1]
                errors[f"{layer} readout"] = (self.get_buffer(f"{layer}_metric") * products).sum()
                if not forced:
                    metric = self.get_buffer(f"{layer}_gram_metric")
                    errors[f"{layer} gram"] = _size(_grams(predicted) - _grams(target), metric)
            if forced and layer not in BEFORE_POOLING and layer not in self.taps:
                x = torch.cat([target, x[:, count:]], 1)
        return errors

    @torch.no_grad()
    def adopt(self, other: VGG, image: Tensor) -> None:
        """Begin with the weights of `other`, an earlier student of the same teacher.

        Its filters that predict targets are taken over, scaled to what the targets now are, and of
        its other filters those that are not silent on `image`, as far as there is room.
        """
        found, targets = other(image, self.layers), self.teacher[0](image, self.layers)
        before, gain = torch.arange(3, device=image.device), torch.ones(3, device=image.device)
        for layer in self.layers:
            active = self.get_buffer(f"{layer}_active")
            mean = found[layer].mean((0, 2, 3))
            free = (mean > SILENT * mean.mean()).nonzero()[:, 0]
            kept = torch.cat([active, free[~torch.isin(free, active)]])
            kept = kept[: self.student.widths[layer]]
            rows, wanted = _rows(found[layer][:, kept]), _rows(targets[layer][:, active])
            scale, count = torch.ones_like(mean[kept]), len(active)
            wanted = wanted * self.get_buffer(f"{layer}_scale")[:, None]
            products, squares = (rows[:count] * wanted).sum(1), rows[:count].square().sum(1)
            scale[:count] = torch.where(products > 0, products / squares, 1.0)
            mine, theirs = self.student.get_submodule(layer), other.get_submodule(layer)
            mine.weight.zero_()
            mine.bias.zero_()
            weight = theirs.weight[kept][:, before] * scale[:, None, None, None]
            mine.weight[: len(kept), : len(before)] = weight / gain[:, None, None]
            mine.bias[: len(kept)] = theirs.bias[kept] * scale
            before, gain = kept, scale

    @torch.no_grad()
    def revive(self, image: Tensor, seed: int) -> int:
        """Give free filters that have fallen silent on `image` new random weights; how many.

        Their responses before the ReLU then have mean 0 and deviation 1, and what follows ignores
        them until it learns otherwise.
        """
        noise, x, count = torch.Generator().manual_seed(seed), self.student.input(image), 0
        following = dict(zip(self.student.layers, self.student.layers[1:], strict=False))
        for layer in self.student.layers:
            mean = F.relu(self.student.convolve(layer, x)).mean((0, 2, 3))
            dead = mean <= SILENT * mean.mean()
            targets = self.get_buffer(f"{layer}_active") if layer in self.layers else ()
            dead[: len(targets)] = False
            if dead.any() and layer in following:
                conv = self.student.get_submodule(layer)
                weight = torch.randn(conv.weight[dead].shape, generator=noise)
                conv.weight[dead], conv.bias[dead] = weight.to(conv.weight), 0.0
                rows = _rows(self.student.convolve(layer, x)[:, dead])
                conv.weight[dead] /= rows.std(1)[:, None, None, None]
                conv.bias[dead] = -rows.mean(1) / rows.std(1)
                self.student.get_submodule(following[layer]).weight[:, dead] = 0.0
                count += int(dead.sum())
            x = F.relu(self.student.convolve(layer, x))
        return count

    def groups(self, rate: float) -> list[dict]:
        """Parameter groups for Adam: a layer learns at `rate` times its weights' He deviation."""
        groups = []
        for layer in self.student.layers:
            conv = self.student.get_submodule(layer)
            fan_in = conv.weight[0].numel()
            groups.append({"params": list(conv.parameters()), "lr": rate * math.sqrt(2 / fan_in)})
            if layer in self.taps:
                params = list(self.taps[layer].parameters())
                groups.append({"params": params, "lr": rate / math.sqrt(conv.out_channels)})
        return groups
