"""A frozen VGG network with named layers, and the images it looks at.

The paper (section 2) uses the 16 convolutions and 5 poolings of VGG-19 (Simonyan and Zisserman,
arXiv 1409.1556) without the fully connected layers. "conv4_2" always means the activation *after*
the ReLU. `stylelab.networks` loads weights; this module evaluates and rescales them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylelab.errors import NetworkError, SettingError
from stylelab.room import LARGE, current


def _widths(convolutions: Sequence[int]) -> dict[str, int]:
    """Layers and their numbers of feature maps, from the number of convolutions in each group."""
    groups = enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True), 1)
    return {f"conv{g}_{i}": maps for g, (count, maps) in groups for i in range(1, count + 1)}


# The layers' widths by architecture. A 2x2 pooling stands before each conv*_1 but the first.
ARCHITECTURES = {"VGG-19": _widths((2, 2, 4, 4, 4)), "VGG-16": _widths((2, 2, 3, 3, 3))}
VGG19_WIDTHS = ARCHITECTURES["VGG-19"]
LAYERS = tuple(VGG19_WIDTHS)
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"
SAME_ASPECT = 1.05  # by how much aspect ratios may differ and count as one, whole pixels are coarse
Window = tuple[slice, slice]  # the rows and columns of a layer's maps that some features cover
WHOLE: Window = (slice(None), slice(None))
TOLERANCE = 1e-3  # by which pixels may leave [0, 1], as resampling and rounding make them do


class VGG(nn.Module):
    """A stack of 3x3 convolutions, of any widths and cut off at any depth.

    Weights are named as the paper names layers: `conv1_1.weight`, `conv1_1.bias`, ... The 1x1
    convolution `input` maps sRGB in [0, 1] to what the weights expect (mean, scale, channel order).

    A network may carry a *readout* at a layer: an `(m, N + 1)` matrix R that maps its N feature
    maps, with a constant 1 appended, to the space in which distances are measured. A small network
    trained to predict a large one measures in the large one's space with it (`stylelab.losses`).
    Without a readout, distances are measured between the features themselves.

    Three attributes say how, not what, is computed, and `networks.load` sets them: `convolution`,
    called as `F.conv2d(x, weight, bias, padding=...)`, the `hooks` that watch optimisations
    (`stylelab.optimisation`), and `pieces`, called as `in_one_piece`, where no gradient is wanted.

    Args:
        widths: number of feature maps of each layer; a leading part of an architecture's layers.
        padding: "zeros" (as VGG was trained) or "reflect", applied before each convolution.
        pooling: "avg" (the paper) or "max" (as VGG was trained), 2x2 with stride 2.
        name: what figures and records call this network.
        units: for layers with a readout, the number of feature maps in the space where distances
            are measured (N_l in the paper's normalisation); for other layers it is their width.

    Raises:
        NetworkError, SettingError: for other widths; for another padding or pooling.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        padding: str = "zeros",
        pooling: str = "avg",
        name: str = "vgg",
        units: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        known = [tuple(layers)[: len(widths)] for layers in ARCHITECTURES.values()]
        if not widths or tuple(widths) not in known:
            raise NetworkError(f"widths must name a leading part of {LAYERS}, got {tuple(widths)}")
        if padding not in ("zeros", "reflect"):
            raise SettingError(f"padding must be 'zeros' or 'reflect', got {padding!r}")
        if pooling not in ("avg", "max"):
            raise SettingError(f"pooling must be 'avg' or 'max', got {pooling!r}")
        self.widths, self.padding, self.pooling, self.name = dict(widths), padding, pooling, name
        self.sha256 = ""  # of the weights' file; empty for weights that are not from a file
        self.rescaled = False  # whether `rescale` changed them
        self.units = dict(widths) | dict(units or {})
        self.convolution: Callable[..., Tensor] = F.conv2d
        self.hooks: tuple[Callable, ...] = ()
        self.pieces = in_one_piece
        self.input = nn.Conv2d(3, 3, 1)
        maps = 3
        for layer, width in self.widths.items():
            self.add_module(layer, nn.Conv2d(maps, width, 3))
            maps = width
        self.readouts = nn.ParameterDict()
        self.requires_grad_(False)

    layers = property(lambda self: tuple(self.widths), doc="Its layers, shallowest first.")
    device = property(lambda self: self.input.weight.device, doc="Where its weights are.")
    dtype = property(lambda self: self.input.weight.dtype, doc="The precision of its weights.")

    def readout(self, layer: str) -> Tensor | None:
        """The `(m, N + 1)` readout matrix at `layer`, or None where features are compared as is."""
        return self.readouts.get(layer)

    def up_to(self, layer: str) -> tuple[str, ...]:
        """The layers that are computed for `layer`, itself the last of them."""
        return self.layers[: self.layers.index(layer) + 1]

    def min_size(self, layers: Iterable[str]) -> int:
        """The smallest image side, in pixels, on which all of `layers` can be computed."""
        poolings = max(int(layer[4]) for layer in self.check_layers(layers)) - 1
        return (2 if self.padding == "reflect" else 1) * 2**poolings

    def check_layers(self, layers: Iterable[str]) -> tuple[str, ...]:
        """`layers` in network order, each once; NetworkError if one is unknown or none is given."""
        asked = set(map(str, layers if isinstance(layers, Iterable) else [layers]))
        if unknown := sorted(asked - set(self.widths)):
            wrong, known = ", ".join(unknown), ", ".join(self.widths)
            raise NetworkError(f"{self.name} has no layer {wrong}; it has {known}")
        if not asked:
            raise NetworkError("no layer was given; name at least one, such as 'conv4_2'")
        return tuple(layer for layer in self.widths if layer in asked)

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Feature maps of `image` at `layers`, in network order: `features_by_layer` as a dict."""
        return dict(self.features_by_layer(image, layers))

    def features_by_layer(
        self, image: Tensor, layers: Iterable[str]
    ) -> Iterator[tuple[str, Tensor]]:
        """Compute an image layer by layer, up to the deepest of `layers`.

        Args:
            image: `(N, 3, H, W)`, sRGB, nominally in [0, 1].
            layers: names out of `self.layers`, in any order.

        Yields:
            Each of `layers` in network order, with its activation after the ReLU, `(N, N_l, h, w)`.

        Raises:
            NetworkError: for an unknown layer.
            SettingError: for an image of another shape, or smaller than `min_size(layers)`.
        """
        asked = self.check_layers(layers)
        if image.dim() != 4 or image.shape[1] != 3:
            raise SettingError(f"image must be (N, 3, H, W), got {tuple(image.shape)}")
        if min(image.shape[2:]) < (least := self.min_size(asked)):
            raise SettingError(
                f"image of {image.shape[3]} x {image.shape[2]} pixels is too small: {asked[-1]} of "
                f"{self.name} needs at least {least} pixels on each side"
            )
        x = self.input(image)
        for layer in self.widths:
            x = F.relu_(self.convolve(layer, x))
            if layer in asked:
                yield layer, x
            if layer == asked[-1]:
                break

    def convolve(self, layer: str, x: Tensor) -> Tensor:
        """`layer` before its ReLU, from the layer before it `(N, C, h, w)`; pools where due."""
        if layer.endswith("_1") and layer != "conv1_1":
            x = (F.avg_pool2d if self.pooling == "avg" else F.max_pool2d)(x, 2)
        conv, padding = self.get_submodule(layer), 1
        if self.padding == "reflect":
            x, padding = F.pad(x, (1, 1, 1, 1), mode="reflect"), 0
        return self.convolution(x, conv.weight, conv.bias, padding=padding)


def in_one_piece(
    network: VGG, image: Tensor, layers: Iterable[str]
) -> Iterator[tuple[str, Window, Tensor]]:
    """Each of `layers`, and features of `image` there with the window that they cover: all of it.

    Others may yield features in several pieces, which together cover each layer once.
    """
    for layer, features in network.features_by_layer(image, layers):
        yield layer, WHOLE, features


def maps_size(layer: str, size: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the maps of `layer` for an image of (height, width)."""
    poolings = int(layer[4]) - 1
    return size[0] >> poolings, size[1] >> poolings


@torch.no_grad()
def mean_activations(network: VGG, images: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean of each filter over images `(1, 3, H, W)` and positions, per layer `(N_l,)`."""
    sums = {layer: torch.zeros(width) for layer, width in network.widths.items()}
    for image in images:
        for layer, features in network(image, network.layers).items():
            sums[layer] += features.mean((0, 2, 3)) / len(images)
    return sums


@torch.no_grad()
def rescale(network: VGG, means: Mapping[str, Tensor]) -> None:
    """Divide each filter, in place, by its mean activation `means[layer]`, `(N_l,)` (section 2).

    The next layer's weights are multiplied by the same: but for these factors, a ReLU network then
    computes what it did. Readouts give what they gave.

    One filter is treated otherwise than in the paper: a nearly silent one, with a mean below a
    hundredth of its layer's, is divided by that hundredth. A few photographs do not tell its mean;
    scaled up to 1, it would count for more than all others where a painting makes it respond. It
    is counted in N_l, as in the paper, where N_l is the number of a layer's filters.
    """
    network.rescaled = True
    before = None
    for layer in network.layers:
        conv, mean = network.get_submodule(layer), means[layer]
        least = (0.01 * mean.mean()).clamp_min(torch.finfo(mean.dtype).tiny)
        scale = mean.clamp_min(least)
        if before is not None:
            conv.weight *= before[:, None, None]
        conv.weight /= scale[:, None, None, None]
        conv.bias /= scale
        if (readout := network.readout(layer)) is not None:
            readout[:, :-1] *= scale
        before = scale


def check_image(image: object, name: str = "image") -> Tensor:
    """`image`, if it is one image `(1, 3, H, W)` of floating point numbers in [0, 1].

    Raises:
        SettingError: if it is anything else; the message says what was given.
    """
    wrong = ""
    if not isinstance(image, Tensor):
        wrong = f"{type(image).__name__}; stylelab.load_image reads a file"
    elif not image.is_floating_point() or image.is_meta or image.layout != torch.strided:
        wrong = f"{image.dtype}, {image.layout}, on {image.device}; divide bytes by 255"
    elif image.dim() != 4 or image.shape[:2] != (1, 3) or 0 in image.shape:
        wrong = f"the shape {tuple(image.shape)}"
    else:
        low, high = (float(value) for value in image.detach().float().aminmax())
        current().rest()
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # neither holds for NaN
            wrong = f"values from {low:.4g} to {high:.4g}"
    if wrong:
        wanted = "a tensor (1, 3, H, W) of floating point sRGB values in [0, 1]"
        raise SettingError(f"{name} must be {wanted}; got {wrong}")
    return image


def check_same_aspect(image: Tensor, content: Tensor) -> None:
    """SettingError if `image` would be distorted at the size of `content`, both `(N, 3, H, W)`."""
    (height, width), (h, w) = image.shape[2:], content.shape[2:]
    if not 1 / SAME_ASPECT < (height * w) / (width * h) < SAME_ASPECT:
        sides = f"{width} x {height} pixels, and content {w} x {h}"
        raise SettingError(f"init has {sides}; crop it to the aspect ratio of content")


def resize(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """`image` `(N, 3, H, W)`, floats, at another size: bicubic, antialiased, clamped to [0, 1].

    Args:
        size: the longer side in pixels, keeping the aspect ratio; or (height, width).

    Raises:
        SettingError: if `size` is not made of whole numbers of at least 1.
    """
    height, width = image.shape[2:]
    sides = tuple(size) if isinstance(size, (tuple, list)) and len(size) == 2 else (size,)
    if not all(type(side) is int and side > 0 for side in sides):
        raise SettingError(f"size must be in whole pixels, one or (height, width); got {size!r}")
    if len(sides) == 1:
        scale = size / max(height, width)
        sides = max(1, round(height * scale)), max(1, round(width * scale))
    if sides == (height, width):
        return image
    image = image.float() if image.element_size() < 4 else image  # not done in half precision
    if math.prod(sides) <= LARGE:
        return _resampled(image, sides)
    room = current()
    found = room.like(image, *image.shape[:2], *sides)
    for there, plane in zip(found.flatten(0, 1), image.flatten(0, 1), strict=True):
        there.copy_(_resampled(plane[None, None], sides)[0, 0])
        room.rest()
    return found


def _resampled(image: Tensor, sides: tuple[int, int]) -> Tensor:
    return F.interpolate(image, sides, mode="bicubic", antialias=True).clamp_(0, 1)
