"""Other statistics than the Gram matrix that a style can be: `Transfer.style_loss`.

At a layer with N_l feature maps, the M_l columns f of F are samples of a distribution: where they
are does not count. All of these compare that of the picture with that of the style (index s).

gram         (G / M_l - A / M_l)^2, mean over its entries: the paper's, with G / M_l = E[f f^T].
covariance   the same of C = E[f f^T] - m m^T, without the mean m = E[f].
wasserstein  (|m - m_s|^2 + tr(C + C_s - 2 (C_s^1/2 C C_s^1/2)^1/2)) / N_l: per map, the squared
             Wasserstein-2 distance of the Gaussians with these moments (Dowson, Landau 1982).
sliced       the squared Wasserstein-2 distance along N_l random orthogonal directions, and its mean
             (Bonneel and others, 2015): along one, sorted values are compared with sorted values.

Gram, covariance and wasserstein are functions of sums over positions (`stylelab.losses.moments`).
Sliced is not: it sorts all positions of a picture. With a readout R everything is of R [f; 1], and
a guide T weighs a position by T^2, as in a Gram matrix.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.losses import moments
from stylelab.objective import WHOLE, StyleTerm, Window, style_representation
from stylelab.rows import of
from stylelab.vgg import VGG

LEAST = 1e-7  # of the largest eigenvalue: what is below is rounding, and has no slope


def mean_and_covariance(sums: Tensor, readout: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean `(N, m)`, covariance `(N, m, m)`, from `moments` `(N, C + 1, C + 1)`, in float64."""
    sums = _precise(sums)
    sums = sums / sums[:, -1:, -1:]
    if readout is not None:
        ones = torch.zeros_like(readout[:1])
        ones[:, -1] = 1
        readout = torch.cat([readout, ones]).to(sums)
        sums = readout @ sums @ readout.mT
    mean = sums[:, :-1, -1]
    return mean, sums[:, :-1, :-1] - mean[:, :, None] * mean[:, None, :]


def root(matrix: Tensor) -> Tensor:
    """The symmetric square root of symmetric matrices `(N, m, m)`; below 0 is rounding, and 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT


def wasserstein(mean: Tensor, covariance: Tensor, wanted: Tensor, wanted_root: Tensor) -> Tensor:
    """The squared Wasserstein-2 distance of two Gaussians, `(N,)`.

    Args:
        mean, covariance: of one, `(N, m)` and `(N, m, m)`.
        wanted, wanted_root: the mean of the other, and the `root` of its covariance.
    """
    between = wanted_root @ covariance @ wanted_root
    values = torch.linalg.eigvalsh((between + between.mT) / 2)
    floor = LEAST * values.detach().amax(1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    overlap = torch.where(values > floor, values.clamp_min(floor).sqrt(), 0.0).sum(1)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1) + wanted_root.square().sum((1, 2))
    return (mean - wanted).square().sum(1) + traces - 2 * overlap


def _precise(tensor: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none: a difference of squares follows."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


class _Moments(StyleTerm):
    """A style term that is a function of moments."""

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """The moments `(n, C + 1, C + 1)` of the part of the picture at `window`."""
        return moments(features, self.guide_of(features, images, window))


class CovarianceTerm(_Moments):
    """The mean squared difference of covariances; the target is C_s `(N or 1, m, m)`."""

    @staticmethod
    def target_of(
        features: Tensor, readout: Tensor | None, guide: Tensor | None, positions: int
    ) -> Tensor:
        """C_s of the style's `features` `(n, C, h, w)`."""
        return mean_and_covariance(moments(features, guide), readout)[1]

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture."""
        _, covariance = mean_and_covariance(sums, network.readout(self.layer))
        apart = covariance - of(images, self.target).to(covariance)
        return apart.square().sum((1, 2)).to(sums) / network.units[self.layer] ** 2


class WassersteinTerm(_Moments):
    """Wasserstein-2 per map; the target is [C_s^1/2 m_s], `(N or 1, m, m + 1)`."""

    @staticmethod
    def target_of(
        features: Tensor, readout: Tensor | None, guide: Tensor | None, positions: int
    ) -> Tensor:
        """[C_s^1/2 m_s] of the style's `features` `(n, C, h, w)`."""
        mean, covariance = mean_and_covariance(moments(features, guide), readout)
        return torch.cat([root(covariance), mean[:, :, None]], 2)

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture."""
        mean, covariance = mean_and_covariance(sums, network.readout(self.layer))
        target = of(images, self.target).to(mean).expand(len(mean), -1, -1)
        apart = wasserstein(mean, covariance, target[:, :, -1], target[:, :, :-1])
        return apart.to(sums) / network.units[self.layer]


class SlicedTerm(_Moments):
    """Sliced Wasserstein-2; the target is as many quantiles of the style as the picture has."""

    divides = False  # its sums are of a whole picture alone

    @staticmethod
    def target_of(
        features: Tensor, readout: Tensor | None, guide: Tensor | None, positions: int
    ) -> Tensor:
        """The quantiles of the style's `features`, as many as a picture has `positions`."""
        values, ranks, _ = projected(features, readout, guide)
        wanted = (torch.arange(positions, device=values.device).to(values) + 0.5) / positions
        return quantiles(values, ranks, wanted[None, None])

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """The squared distances along all directions, of a whole picture alone, `(n,)`.

        Raises:
            SettingError: for a part of a picture: its sorted values are not those of the whole.
        """
        if window != WHOLE:
            raise SettingError(
                "style_loss sliced sorts all positions of a picture, which tiles cannot; lower the "
                "size (--size), or choose another style_loss (--style-loss): gram, covariance or "
                "wasserstein"
            )
        guide = self.guide_of(features, images)
        values, ranks, shares = projected(features, network.readout(self.layer), guide)
        target = of(images, self.target).to(values)
        if guide is not None:
            middles = (torch.arange(target.shape[2]).to(values) + 0.5) / target.shape[2]
            target = quantiles(target.expand_as(values), middles[None, None], ranks)
        return ((values - target).square() * shares).sum((1, 2))

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture."""
        return sums / network.units[self.layer]


def directions(count: int, like: Tensor) -> Tensor:
    """Random orthogonal directions, the same ones every time: a `(count, count)` matrix of rows."""
    maker = torch.Generator().manual_seed(count)
    return torch.linalg.qr(torch.randn(count, count, generator=maker, dtype=torch.float64))[0].to(
        like
    )


def projected(
    features: Tensor, readout: Tensor | None, guide: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Features `(n, C, h, w)` along `directions`, sorted: values, ranks and shares, `(n, m, M)`.

    A value's rank, from 0 to 1, is the middle of its share of the distribution.
    """
    rows = features.flatten(2)
    if readout is None:
        values = directions(rows.shape[1], rows) @ rows
    else:
        axes = directions(len(readout), rows) @ readout
        values = axes[:, :-1] @ rows + axes[:, -1:]
    values, order = values.sort(2)
    if guide is None:
        shares = values.new_full((1, 1, values.shape[2]), 1 / values.shape[2])
    else:
        weights = guide.flatten(1).square()[:, None].expand_as(values)
        shares = weights.gather(2, order) / weights.sum(2, keepdim=True)
    return values, shares.cumsum(2) - shares / 2, shares


def quantiles(values: Tensor, ranks: Tensor, wanted: Tensor) -> Tensor:
    """Sorted `values` `(n, m, M)` of these `ranks` at the ranks `wanted`, `(n, m, K)`.

    Ranks are in ascending order and may be `(1, 1, ...)`. Between two values it goes in a straight
    line, before the first and after the last it stays.
    """
    ranks, wanted = (x.expand(*values.shape[:2], -1).contiguous() for x in (ranks, wanted))
    last = values.shape[2] - 1
    above = torch.searchsorted(ranks, wanted).clamp(0, last)
    below = (above - 1).clamp_min(0)
    start, end = ranks.gather(2, below), ranks.gather(2, above)
    share = ((wanted - start) / (end - start).clamp_min(torch.finfo(ranks.dtype).tiny)).clamp(0, 1)
    return torch.lerp(values.gather(2, below), values.gather(2, above), share)


TERMS: dict[str, type[StyleTerm]] = {
    "gram": StyleTerm,
    "covariance": CovarianceTerm,
    "wasserstein": WassersteinTerm,
    "sliced": SlicedTerm,
}


def representation(
    kind: str,
    network: VGG,
    image: Tensor,
    layers: Sequence[str],
    guides: Mapping[str, Tensor] | None,
    size: Sequence[int],
) -> dict[str, Tensor]:
    """What the terms of `kind` take of `image` `(1, 3, h, w)` as their targets.

    Args:
        kind: a key of `TERMS`.
        guides: of the image at each layer, as `stylelab.objective.style_representation` takes them.
        size: (height, width) of the picture that is to match it.
    """
    if kind == "gram":
        return style_representation(network, image, layers, guides)
    found = {}
    with torch.no_grad():
        for layer, features in network.features_by_layer(image, layers):
            poolings = int(layer[4]) - 1
            positions = (size[0] >> poolings) * (size[1] >> poolings)
            guide = guides and guides[layer]
            target = TERMS[kind].target_of(features, network.readout(layer), guide, positions)
            found[layer] = target.to(features)
    return found
