"""Extreme settings and odd images: finite results, or a clear error; the same numbers again."""

import itertools

import pytest
import torch

from stylelab import gallery, load, reconstruct_style, transfer, transfer_batch
from stylelab.cli.main import main as cli
from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.images import load_image
from stylelab.objective import Objective
from stylelab.vgg import STYLE_LAYERS


@pytest.fixture
def images():
    return torch.rand(2, 1, 3, 37, 51)


@pytest.fixture(params=["vgg19-mini", "tiny"])
def network(request, tiny_network):
    """One with reflection and readouts, and one with neither."""
    if request.param == "tiny":
        return tiny_network(dtype=torch.float32, padding="zeros")
    return load("vgg19-mini")


def assert_fine(result):
    assert result.images.isfinite().all() and result.losses.isfinite().all()
    assert (result.losses[-1] <= 1.001 * result.losses[0] + 1e-9).all() and not result.stuck


def test_extreme_ratios(network, images):
    ratios = (0.0, 1e-38, 1e-12, 1e-3, 1.0, 1e6, 1e12, 1e30)
    batch = [
        Transfer(*images, alpha_beta=ratio, init=init)
        for ratio, init in itertools.product(ratios, ("content", "noise"))
    ]
    assert_fine(transfer_batch(network, batch, steps=8, progress=False))


def test_a_single_style_layer(network, images):
    batch = [Transfer(*images, style_layers=[layer]) for layer in STYLE_LAYERS]
    assert_fine(transfer_batch(network, batch, steps=6, progress=False))
    subsets = [[layer] for layer in STYLE_LAYERS]
    assert_fine(reconstruct_style(network, images[1], subsets, steps=6, progress=False))


def test_images_of_one_colour(network, images):
    content, style = images
    batch = []
    for value in (0.0, 0.5, 1.0):
        flat = torch.full_like(content, value)
        batch += [Transfer(flat, style), Transfer(content, flat), Transfer(flat, flat)]
    assert_fine(transfer_batch(network, batch, steps=4, progress=False))


def test_content_equal_to_style(network, images):
    result = transfer(network, images[0], images[0], steps=6, progress=False)
    assert_fine(result)
    assert (result.images - images[0]).abs().max() < 1e-3  # it is at the minimum


@pytest.mark.parametrize("sides", [(32, 32), (33, 47), (37, 129), (63, 65), (200, 32)])
def test_sizes_not_divisible_by_sixteen(network, sides):
    content, style = torch.rand(1, 3, *sides), torch.rand(1, 3, *sides[::-1])
    result = transfer(network, content, style, steps=3, progress=False)
    assert_fine(result)
    assert result.images.shape == (1, 3, *sides)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("alpha_beta", [1e-3, 1e4])
def test_networks_of_other_precisions_give_finite_numbers_or_are_refused(
    network, images, dtype, alpha_beta
):
    asked = {"alpha_beta": alpha_beta, "init": "noise", "steps": 4, "progress": False}
    try:
        result = transfer(network.to(dtype), *images, **asked)
    except SettingError as error:
        assert "must be finite" in str(error) and dtype == torch.float16
    else:
        assert result.images.dtype == torch.float32 and result.images.isfinite().all()
        assert result.losses.float().isfinite().all()


def test_when_no_step_is_finite_any_more_the_best_image_is_saved(tmp_path, monkeypatch, capsys):
    evaluate, count = Objective.value_and_grad, itertools.count()

    def poisoned(self, image):
        terms, gradient = evaluate(self, image)
        factor = torch.nan if next(count) > 5 else 1.0
        return {name: factor * loss for name, loss in terms.items()}, gradient

    monkeypatch.setattr(Objective, "value_and_grad", poisoned)
    out = tmp_path / "out.png"
    asked = ["transfer", "pagoda", "swirling_night", "-o", str(out), "--size", "48"]
    assert cli([*asked, "--steps", "500"]) == 1
    assert "step 40" in (said := capsys.readouterr().err) and str(out) in said
    start = load_image(gallery.path("pagoda"), 48)
    assert (load_image(out) - start).abs().max() > 0.02  # of five steps, and no start


def test_with_another_number_of_threads_the_picture_is_nearly_the_same(images):
    """At first; max pooling makes small differences grow with each step, at much the same loss."""
    network, threads, results = load("vgg19-mini"), torch.get_num_threads(), {}
    try:
        for steps, count in itertools.product((5, 20), (1, 3)):
            torch.set_num_threads(count)
            made = transfer(network, *images, init="noise", steps=steps, progress=False)
            results.setdefault(steps, []).append(made)
    finally:
        torch.set_num_threads(threads)
    one, other = results[5]
    assert (other.images - one.images).abs().mean() < 5e-3
    one, other = results[20]
    torch.testing.assert_close(other.losses[-1], one.losses[-1], rtol=0.2, atol=0)
