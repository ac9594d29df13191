"""What the optimiser moves: maps that can be inverted, and their adjoints."""

import pytest
import scipy.fft
import torch

from stylelab import room
from stylelab.lbfgs import lbfgs
from stylelab.objective import OutOfRange
from stylelab.optimisation import optimise
from stylelab.parametrisation import FREQUENCIES, NAMED, PIXELS, Frequencies

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


@pytest.mark.parametrize("size", SIZES)
def test_large_pictures_are_transformed_in_parts(size, monkeypatch):
    z, gradient = noise(2, 3, *size), noise(2, 3, *size, seed=1)
    given = z.clone()
    whole = [*_ways(z, gradient)]
    monkeypatch.setattr(room, "LARGE", 20)
    for found, expected in zip(_ways(z, gradient), whole, strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.equal(z, given) and torch.equal(gradient, noise(2, 3, *size, seed=1))


def _ways(z, gradient):
    yield FREQUENCIES.to_image(z)
    yield FREQUENCIES.from_image(z)
    yield FREQUENCIES.pull_back(z, gradient)


@pytest.mark.parametrize("size", SIZES)
def test_frequencies_are_those_of_the_cosine_transform(size):
    """Of scipy's, where no frequency and no colour comes first."""
    way = Frequencies(power=0.0, colours=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    image = noise(2, 3, *size)
    expected = scipy.fft.dctn(image.numpy(), axes=(2, 3), norm="ortho")
    torch.testing.assert_close(way.from_image(image), torch.from_numpy(expected))


def test_amplitude_falls_with_frequency():
    """With the power 1/2, waves of four times the frequency have half the amplitude."""

    def amplitude(row, column):
        z = torch.zeros(1, 3, 32, 48, dtype=torch.float64)
        z[..., row, column] = 1.0
        return Frequencies(power=0.5).to_image(z).std()

    assert amplitude(0, 3) / amplitude(0, 12) == pytest.approx(2)
    assert amplitude(2, 0) / amplitude(8, 0) == pytest.approx(2)
    assert amplitude(8, 12) == pytest.approx(amplitude(0, 12) / 2**0.25)  # f is a length


def test_grey_moves_more_readily_than_colour():
    grey, red_green = (torch.tensor(c).double().view(1, 3, 1, 1) for c in ((1, 1, 1), (1, -1, 0)))
    gradient = noise(1, 1, 8, 8)
    lengths = []
    for colour in (grey, red_green):
        step = FREQUENCIES.pull_back(gradient, gradient * colour / colour.norm())
        moved = FREQUENCIES.to_image(step)
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
