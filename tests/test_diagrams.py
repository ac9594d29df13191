"""Figure 2's drawing: which filters it shows, how a gradient looks, and that nothing runs out."""

import pytest
import torch

from stylelab.figures import diagrams


def test_filters_that_vary_most_come_first_and_none_says_the_same_again():
    maker = torch.Generator().manual_seed(0)
    across, down = torch.randn(2, 6, 8, generator=maker)
    features = torch.stack([3 * across, 9 * down + 50, 20 * across, torch.full((6, 8), 99.0)])[None]
    assert diagrams.varied(features, 2) == [2, 1]
    assert diagrams.varied(features, 10)[:2] == [2, 1] and len(diagrams.varied(features, 10)) == 4


def test_a_gradient_is_grey_where_it_is_zero():
    gradient = torch.linspace(-1, 1, 3 * 21 * 21).view(1, 3, 21, 21)
    picture = diagrams.as_picture(gradient)
    assert picture.min() == 0 and picture.max() == 1
    torch.testing.assert_close(picture, 1 - picture.flip(1, 2, 3))
    torch.testing.assert_close(picture, diagrams.as_picture(1e-6 * gradient))
    assert (diagrams.as_picture(torch.zeros(1, 3, 4, 4)) == 0.5).all()


@pytest.fixture
def drawing():
    maps, gram = torch.rand(3, 12, 16), torch.rand(8, 8)
    rows = [
        diagrams.Row("conv1_1", (maps,) * 3, (2.0, 0.5), (gram,) * 3, passed=maps[0]),
        diagrams.Row("conv4_2", (maps,) * 3, (0.0, 0.25)),
    ]
    images = {step: torch.rand(1, 3, 24, 32) for step in (0, 5, 80)}
    losses = {"style": (2.0, 0.5), "total": (2.0, 0.75)}
    pair = torch.rand(2, 1, 3, 24, 32)
    footer = "Made by a test, with a $ in it."
    return diagrams.algorithm(rows, tuple(pair), images, torch.randn(1, 3, 24, 32), losses, footer)


def test_the_algorithm_is_drawn_with_its_layers_steps_and_losses(drawing):
    told = [text.get_text() for axes in drawing.axes for text in axes.texts]
    assert {"conv1_1", "conv4_2", "step 0", "step 5", "step 80"} <= set(told)
    assert told.count("2 → 0.5") == 2 and {"0 → 0.25", "2 → 0.75"} <= set(told)
    assert "Made by a test, with a $ in it." in told
    # Cards, Gram matrices, the map that is not compared, five images and the gradient.
    assert len(drawing.axes) == 1 + 2 * 3 * 3 + 3 + 1 + 5 + 1


def test_its_texts_lie_within_it_and_not_upon_each_other(drawing):
    drawing.draw_without_rendering()
    boxes = [
        text.get_window_extent()
        for axes in drawing.axes
        for text in axes.texts
        if text.get_text().strip()
    ]
    whole = drawing.bbox
    for box in boxes:
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 <= whole.y1
    for i, one in enumerate(boxes):
        assert not any(one.shrunk(0.9, 0.7).overlaps(other) for other in boxes[:i])
