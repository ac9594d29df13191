"""The paper's equations, one function each, on feature maps `(N, C, H, W)`.

At a layer l with N_l feature maps of M_l = H_l x W_l positions, F holds the responses to the
generated image, P to the content image; G and A are the Gram matrices of the generated and the
style image. All losses are per image, `(N,)`: the images of a batch never mix.

**Sums and means.** Equation 1 is a sum over units, equation 4 in effect a mean: a ratio alpha/beta
in equation 7 means something else at every image size. The ratios that the authors' released code
uses are between *means*: content is the mean squared error over the units of the layer, style the
mean over the N_l x N_l entries of (G/M_l - A/M_l)^2. With equations 1 and 4 these are

    mean content = 2 / (N_l M_l) L_content        mean style = 4 L_style

so the ratio r between means is alpha/beta = r / (2 N_l M_l) in equation 7. `stylelab.objective`
uses the means; `paper_ratio` converts.

**Readouts.** With a readout R (see `stylelab.vgg`), distances are measured between R [F; 1], F with
a feature map of ones appended. Gram matrices need no readout at each position, since
Gram(R [F; 1]) = R Gram([F; 1]) R^T. Where R is the triangular factor of [A b] = Q R, these are the
distances between the features A F + b, exactly: Q keeps lengths.

**Guides.** A guide T weighs positions: the Gram matrix is that of T F, each map times T at each
position (Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, 2017, section 4).
`stylelab.controls.regions` makes guides of masks.
"""

import torch
from torch import Tensor


def content_loss(features: Tensor, target: Tensor, readout: Tensor | None = None) -> Tensor:
    """Equation 1: L_content = 1/2 sum_ij (F_ij - P_ij)^2, `(N,)`.

    F is `features` `(N, C, H, W)`, P is `target` `(N or 1, C, H, W)`; the constant column of a
    `readout` `(m, C + 1)` cancels in the difference.
    """
    difference = features - target
    if readout is not None:
        difference = torch.einsum("mc,nchw->nmhw", readout[:, :-1], difference)
    return 0.5 * difference.square().sum((1, 2, 3))


def content_gradient(features: Tensor, target: Tensor) -> Tensor:
    """Equation 2: dL_content/dF, `(N, C, H, W)`: F - P where F > 0, else 0.

    The case F = 0 is the ReLU's: its output is the feature, so no gradient passes below zero.
    """
    return (features - target) * (features > 0)


def gram_matrix(
    features: Tensor, readout: Tensor | None = None, guide: Tensor | None = None
) -> Tensor:
    """Equation 3: G_ij = sum_k F_ik F_jk, a sum over positions k, `(N, C, C)`.

    F is `features` `(N, C, H, W)`. With a `readout` R `(m, C + 1)` the result is
    R Gram([F; 1]) R^T, `(N, m, m)`. With a `guide` T `(N or 1, H, W)` it is the matrix of T F and,
    with a readout, of [T F; T]: the map of ones is guided as the others are.
    """
    if readout is not None:
        return readout @ moments(features, guide) @ readout.mT
    return _Gram.apply(_rows(features, guide)[0])


def moments(features: Tensor, guide: Tensor | None = None) -> Tensor:
    """The Gram matrix of [F; 1], or of [T F; T] with a `guide`, `(N, C + 1, C + 1)`.

    Its last column has the sum of each map, and of the ones. Mean and covariance come from it.
    """
    rows, guide = _rows(features, guide)
    sums = rows.sum(1)[..., None] if guide is None else rows.mT @ guide
    positions = torch.full_like(sums[:, :1], rows.shape[1])
    if guide is not None:
        positions = (guide.mT @ guide).expand_as(positions)
    upper = torch.cat([_Gram.apply(rows), sums], 2)
    return torch.cat([upper, torch.cat([sums.mT, positions], 2)], 1)


def _rows(features: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """F^T, a position each with its maps together, times the guide; and the guide as a column."""
    rows = features.permute(0, 2, 3, 1).flatten(1, 2)
    if guide is None:
        return rows, None
    guide = guide.flatten(1)[..., None]
    return rows * guide, guide


class _Gram(torch.autograd.Function):
    """F F^T of F^T `(N, M, C)`, with the gradient of both factors in one product.

    Autograd would take each by itself, one of them in another memory format than the network's,
    which made adding the two the slowest part of a step's backward pass on a CPU.
    """

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows.mT @ rows

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        return rows @ (gradient + gradient.mT)


def style_layer_loss(
    gram: Tensor, target: Tensor, positions: int, target_positions: int, units: int
) -> Tensor:
    """Equation 4: E_l = 1 / (4 N_l^2 M_l^2) sum_ij (G_ij - A_ij)^2, `(N,)`.

    Each Gram matrix is divided by its own M_l, so that images of different sizes can be compared;
    for equal sizes that is the paper's equation.

    Args:
        gram: G, `(N, C, C)`.
        target: A, `(N or 1, C, C)`.
        positions, target_positions: M_l of the generated image and of the style image.
        units: N_l.
    """
    difference = gram / positions - target / target_positions
    return difference.square().sum((1, 2)) / (4 * units**2)


def style_layer_gradient(features: Tensor, target: Tensor) -> Tensor:
    """Equation 6: dE_l/dF = 1 / (N_l^2 M_l^2) (F^T (G - A))_ji where F > 0, else 0.

    F is `features` `(N, C, H, W)`, A is `target` `(N or 1, C, C)`, of an image of the same size.
    """
    units, positions = features.shape[1], features[0, 0].numel()
    product = ((gram_matrix(features) - target) @ features.flatten(2)).view_as(features)
    return product * (features > 0) / (units * positions) ** 2


def style_loss(layer_losses: list[Tensor], weights: list[float]) -> Tensor:
    """Equation 5: L_style = sum_l w_l E_l, `(N,)`."""
    return sum(w * e for w, e in zip(weights, layer_losses, strict=True))


def total_loss(content: Tensor, style: Tensor, alpha: float, beta: float) -> Tensor:
    """Equation 7: L_total = alpha L_content + beta L_style, `(N,)`."""
    return alpha * content + beta * style


def paper_ratio(alpha_beta: float, units: int, positions: int) -> float:
    """The alpha/beta of equation 7, as written, that a ratio between means stands for.

    `units` and `positions` are N_l and M_l of the content layer.
    """
    return alpha_beta / (2 * units * positions)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels of `image` `(N, 3, H, W)`, `(N,)`.

    It is not in the paper, and off by default.
    """
    down = (image[:, :, 1:] - image[:, :, :-1]).square().mean((1, 2, 3))
    right = (image[:, :, :, 1:] - image[:, :, :, :-1]).square().mean((1, 2, 3))
    return down + right
