"""Pictures that are made to bear a figure's claims, or to fail them, and what is judged of them."""

import torch

from stylelab.figures import claims


def fit(image, like):
    """`image` in the size of `like`."""
    return torch.nn.functional.interpolate(image, like.shape[2:], mode="area")


def moved(image):
    """The same patterns elsewhere."""
    return image.roll((image.shape[2] // 2, image.shape[3] // 3), (2, 3)).flip(3)


def judged(figure, network, evidence):
    """The claims of a figure, judged by what there is of panels, images, results and facts."""
    given = {"panels": {}, "images": {}} | evidence
    return claims.check(figure, claims.Evidence(network, **given))


def failing(figure, network, evidence):
    """The claims of a figure that fail, by their numbers from 0; it must have claims."""
    found = judged(figure, network, evidence)
    assert found
    return {number: claim for number, claim in enumerate(found) if not claim.holds}
