"""What the optimiser moves: maps that can be inverted, and their adjoints."""

import math

import pytest
import torch

from stylelab.lbfgs import lbfgs
from stylelab.objective import OutOfRange
from stylelab.optimisation import optimise
from stylelab.parametrisation import FOURIER, NAMED, PIXELS

SIZES = [(8, 8), (7, 10), (12, 9)]


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMED)
def test_an_image_comes_back(name, size):
    way, image = NAMED[name], noise(2, 3, *size)
    torch.testing.assert_close(way.to_image(way.from_image(image)), image)
    assert way.from_image(image).shape == image.shape


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMED)
def test_gradients_come_back_as_autograd_says(name, size):
    way, z, gradient = NAMED[name], noise(2, 3, *size).requires_grad_(), noise(2, 3, *size, seed=1)
    (way.to_image(z) * gradient).sum().backward()
    torch.testing.assert_close(way.pull_back(z.detach(), gradient), z.grad)


def test_amplitude_falls_with_the_square_root_of_frequency():
    """Gratings of four times the frequency come out with half the amplitude."""
    x = torch.arange(64, dtype=torch.float64) / 64

    def amplitude(waves):
        grating = torch.cos(2 * math.pi * waves * x).expand(1, 3, 64, 64)
        return FOURIER.to_image(grating).std()

    assert amplitude(4) / amplitude(16) == pytest.approx(2)
    assert amplitude(2) / amplitude(8) == pytest.approx(2)


def test_grey_moves_more_readily_than_colour():
    grey, red_green = (torch.tensor(c).double().view(1, 3, 1, 1) for c in ((1, 1, 1), (1, -1, 0)))
    gradient = noise(1, 1, 8, 8)
    lengths = []
    for colour in (grey, red_green):
        step = FOURIER.pull_back(gradient, gradient * colour / colour.norm())
        moved = FOURIER.to_image(step)
        lengths.append(moved.norm())
    assert lengths[0] > 5 * lengths[1]


def test_both_ways_lead_to_the_same_minimum():
    """Of a quadratic, from the same start."""
    target, start = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)

    class Objective:
        def value_and_grad(self, image):
            return {"loss": (image - target).square().sum((1, 2, 3))}, 2 * (image - target)

    for way in NAMED.values():
        found = []

        def keep(run, states, found=found):
            for state in states:
                found.append(state.image)
                yield state

        optimise(Objective(), start, 300, parametrisation=way, hooks=[keep], progress=False)
        torch.testing.assert_close(found[0], start)
        torch.testing.assert_close(found[-1], target, atol=1e-6, rtol=0)


def test_pixels_are_the_plain_optimiser():
    target, start = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)

    class Objective:
        def value_and_grad(self, image):
            return {"loss": (image - target).pow(4).sum((1, 2, 3))}, 4 * (image - target).pow(3)

    states = lbfgs(Objective().value_and_grad, start)
    for _ in range(11):
        last = next(states)
    result = optimise(Objective(), start, 10, parametrisation=PIXELS, progress=False)
    assert torch.equal(result.images, last.best.clamp(0, 1).float())


def test_the_final_loss_is_that_of_the_picture_in_8_bits():
    class Objective:
        def value_and_grad(self, image):
            return {"loss": image.sum((1, 2, 3))}, torch.ones_like(image)

    start = torch.full((1, 3, 2, 2), 0.1234)
    result = optimise(Objective(), start, 0, progress=False)
    assert float(result.final["loss"]) == pytest.approx(12 * round(0.1234 * 255) / 255)


def test_excess_over_the_range_is_squared():
    image = torch.tensor([0.5, 1.0, 0.0, 1.5, -0.25, 0.2]).view(1, 3, 2, 1)
    loss = OutOfRange(torch.ones(1)).loss(image, None, None)
    assert float(loss) == pytest.approx((0.5**2 + 0.25**2) / 6)
