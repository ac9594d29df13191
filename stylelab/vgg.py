"""A frozen VGG-19: named layers, average or max pooling, stops at the last one asked for.

The paper (section 2) uses the 16 convolutions and 5 poolings of VGG-19 (Simonyan and Zisserman,
arXiv 1409.1556) without the fully connected layers. "conv4_2" always means the activation *after*
the ReLU. `stylelab.networks` knows where weights come from; this module only evaluates them.
"""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from stylelab.engine import winograd
from stylelab.errors import NetworkError, SettingError

LAYERS = tuple(
    f"conv{group}_{i}"
    for group, count in enumerate((2, 2, 4, 4, 4), 1)
    for i in range(1, count + 1)
)
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"
VGG19_WIDTHS = {layer: min(512, 32 * 2 ** int(layer[4])) for layer in LAYERS}


class VGG(nn.Module):
    """VGG-19's stack of 3x3 convolutions, of any widths and cut off at any depth.

    Weights are named as the paper names layers: `conv1_1.weight`, `conv1_1.bias`, ... The 1x1
    convolution `input` maps sRGB in [0, 1] to what the weights expect (mean, scale, channel order).

    A network may carry a *readout* at a layer: an `(m, N + 1)` matrix R that maps its N feature
    maps, with a constant 1 appended, to the space in which distances are to be measured. A small
    network trained to predict a large one uses it to measure in the large one's space (see
    `stylelab.losses`); without a readout the features themselves are that space.

    Args:
        widths: number of feature maps of each layer; the layers are a leading part of `LAYERS`.
        padding: "zeros" (VGG-19) or "reflect", applied before each convolution.
        pooling: "avg" (the paper) or "max" (VGG-19 as trained), 2x2 with stride 2.
        name: what figures and records call this network.
        units: for layers with a readout, how many feature maps the space measured in has (N_l in
            the paper's normalisation); other layers have their width.
    """

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
        if tuple(widths) != LAYERS[: len(widths)] or not widths:
            raise NetworkError(f"widths must name a leading part of {LAYERS}, got {tuple(widths)}")
        if padding not in ("zeros", "reflect"):
            raise SettingError(f"padding must be 'zeros' or 'reflect', got {padding!r}")
        if pooling not in ("avg", "max"):
            raise SettingError(f"pooling must be 'avg' or 'max', got {pooling!r}")
        self.widths, self.padding, self.pooling, self.name = dict(widths), padding, pooling, name
        self.sha256 = ""  # of the weights' file, where there is one
        self.units = dict(widths) | dict(units or {})
        self.input = nn.Conv2d(3, 3, 1)
        before = 3
        for layer, width in self.widths.items():
            self.add_module(layer, nn.Conv2d(before, width, 3))
            before = width
        self.readouts = nn.ParameterDict()
        self._filters: dict[str, tuple[object, tuple[Tensor, Tensor]]] = {}
        self.requires_grad_(False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers this network has, shallowest first."""
        return tuple(self.widths)

    def readout(self, layer: str) -> Tensor | None:
        """The `(m, N + 1)` readout matrix at `layer`; None: features are taken as they are."""
        return self.readouts.get(layer)

    def min_size(self, layers: Iterable[str]) -> int:
        """The smallest image side, in pixels, on which all of `layers` can be computed."""
        poolings = max(int(layer[4]) for layer in self.check_layers(layers)) - 1
        return (2 if self.padding == "reflect" else 1) * 2**poolings

    def check_layers(self, layers: Iterable[str]) -> tuple[str, ...]:
        """`layers` in network order, each once; NetworkError if one is unknown or none is given."""
        asked = set(layers)
        if unknown := asked - set(self.widths):
            raise NetworkError(
                f"network {self.name} has no layer {', '.join(sorted(unknown))}; "
                f"it has {', '.join(self.widths)}"
            )
        if not asked:
            raise NetworkError("no layer asked for; name at least one, such as 'conv4_2'")
        return tuple(layer for layer in self.widths if layer in asked)

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Feature maps of `image` at `layers`; evaluation stops at the deepest one.

        As `walk`, which see, all at once: for each layer, in network order, its activation.
        """
        return dict(self.walk(image, layers))

    def walk(self, image: Tensor, layers: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Feature maps of `image` at `layers`, one after the other as they are computed.

        Args:
            image: `(N, 3, H, W)`, sRGB in [0, 1].
            layers: names out of `self.layers`, in any order.

        Yields:
            Each layer, in network order, and its activation after the ReLU, `(N, N_l, H_l, W_l)`.

        Raises:
            NetworkError: for an unknown layer.
            SettingError: for an image of another shape or below `min_size(layers)`.
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
        """From the layer before, `(N, C, H, W)`, to `layer` before its ReLU, a pooling included."""
        if layer.endswith("_1") and layer != "conv1_1":
            x = (F.avg_pool2d if self.pooling == "avg" else F.max_pool2d)(x, 2)
        conv, padding = self.get_submodule(layer), 1
        if self.padding == "reflect":
            x, padding = F.pad(x, (1, 1, 1, 1), mode="reflect"), 0
        if winograd.suits(x, conv.weight):
            return winograd.conv2d(x, self._transformed(layer), conv.bias, padding)
        return F.conv2d(x, conv.weight, conv.bias, padding=padding)

    def _transformed(self, layer: str) -> tuple[Tensor, Tensor]:
        """The filters of `layer` as `winograd.conv2d` takes them, kept until they change."""
        weight = self.get_submodule(layer).weight
        now = weight.data_ptr(), weight._version
        if layer not in self._filters or self._filters[layer][0] != now:
            self._filters[layer] = now, winograd.transform_filters(weight)
        return self._filters[layer][1]
