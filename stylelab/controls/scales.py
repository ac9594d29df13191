"""The scale of a style: how large its strokes are, and the strokes of one with another's forms.

Gatys et al., Controlling Perceptual Factors in Neural Style Transfer (2017), section 6. A painting
that is smaller beside the photograph gives finer strokes: a style's scale is the size of its image,
and `stylelab transfer --style-scale` loads it at another size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stylelab.objective import RANGE, Objective, OutOfRange, StyleTerm, style_representation
from stylelab.optimisation import Hook, Optimiser, Result, optimise
from stylelab.parametrisation import FREQUENCIES, Parametrisation
from stylelab.rows import columns, place, row, weights_of
from stylelab.vgg import VGG, check_image

FINE = ("conv1_1", "conv2_1")  # the layers of strokes


@torch.inference_mode(False)
def mix_strokes(
    network: VGG,
    forms: Tensor,
    strokes: Tensor,
    *,
    layers: Sequence[str] = FINE,
    steps: int = 100,
    parametrisation: str | Parametrisation = FREQUENCIES,
    optimiser: str | Optimiser = "lbfgs",
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """A style with the forms of one painting in the strokes of another: use its image as a style.

    From the image `forms` the style of `strokes` is matched at shallow layers only. As in the paper
    there is no content loss: the strokes that `forms` has are to go, and its larger forms stay
    because no layer that sees them asks for others.

    Args:
        forms, strokes: `(1, 3, H, W)`, sRGB in [0, 1]; the result has the size of `forms`.
        layers: the layers of the strokes, equally weighted.
        network and the others: as `stylelab.synthesis.transfer_batch` takes them.
    """
    forms, strokes = (
        place(network, check_image(image, name))
        for name, image in (("forms", forms), ("strokes", strokes))
    )
    weights = columns(network, [weights_of(layers)])
    grams = style_representation(network, strokes, layers)
    terms = [StyleTerm(layer, gram, weights[layer]) for layer, gram in grams.items()]
    objective = Objective(network, [*terms, OutOfRange(row(network, [RANGE]))])
    how = {"parametrisation": parametrisation, "optimiser": optimiser, "hooks": hooks}
    return optimise(objective, forms, steps, progress=progress, label="strokes", **how)
