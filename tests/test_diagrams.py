"""Drawings: which filters they show, how a gradient looks, and that texts stay apart and inside."""

import pytest
import torch

from stylelab import synthesis
from stylelab.description import Transfer
from stylelab.figures import algorithm, diagrams
from stylelab.figures.canvas import DPI, Canvas
from stylelab.figures.films import Film


def texts(figure):
    found = [*figure.texts, *figure.axes[0].texts]
    return [text for text in found if text.get_text().strip()]


def overlapping(figure):
    """Pairs of texts that lie upon each other, and texts that leave the figure."""
    figure.draw_without_rendering()
    found, whole = texts(figure), figure.bbox
    boxes = {text.get_text(): text.get_window_extent() for text in found}
    outside = [
        name
        for name, box in boxes.items()
        if box.x0 < whole.x0 or box.x1 > whole.x1 or box.y0 < whole.y0 or box.y1 > whole.y1
    ]
    names = list(boxes)
    return outside + [
        (one, other)
        for i, one in enumerate(names)
        for other in names[:i]
        if boxes[one].shrunk(0.9, 0.7).overlaps(boxes[other])
    ]


def pictures(figure):
    """What the images in a figure show, as arrays."""
    return [image.get_array() for image in figure.axes[0].images]


def test_filters_that_vary_most_come_first_and_none_says_the_same_again():
    maker = torch.Generator().manual_seed(0)
    across, down = torch.randn(2, 6, 8, generator=maker)
    features = torch.stack([3 * across, 9 * down + 50, 20 * across, torch.full((6, 8), 99.0)])[None]
    assert diagrams.distinct_filters(features, 2) == [2, 1]
    found = diagrams.distinct_filters(features, 10)
    assert found[:2] == [2, 1] and len(found) == 4


def test_a_gradient_is_grey_where_it_is_zero():
    gradient = torch.linspace(-1, 1, 3 * 21 * 21).view(1, 3, 21, 21)
    picture = diagrams.signed(gradient)
    assert picture.min() == 0 and picture.max() == 1
    torch.testing.assert_close(picture, 1 - picture.flip(1, 2, 3))
    torch.testing.assert_close(picture, diagrams.signed(1e-6 * gradient))
    assert (diagrams.signed(torch.zeros(1, 3, 4, 4)) == 0.5).all()


def test_drawn_gram_matrices_are_of_the_same_filters_and_relative_to_the_first():
    maps = torch.rand(1, 6, 8, 10)
    first, shuffled, doubled = diagrams.gram_pictures([maps, maps.flip(3), 2 * maps], 4)
    assert first.shape == (4, 4)
    torch.testing.assert_close(first.diagonal(), torch.ones(4))
    torch.testing.assert_close(shuffled, first)  # positions do not matter
    torch.testing.assert_close(doubled, 4 * first)


@pytest.fixture
def drawing(tiny_network):
    """Figure 2 of a transfer of five steps."""
    network = tiny_network(dtype=torch.float32)
    content, style = torch.rand(2, 1, 3, 32, 48)
    transfer, film = Transfer(content, style, alpha_beta=2.0, init="noise"), Film()
    result = synthesis.transfer_batch(network, [transfer], steps=5, hooks=[film], progress=False)
    footer = "Made by a test, with a $ in it."
    return result, algorithm.draw(network, transfer, result, film.frames, footer)


def test_figure_2_shows_its_layers_steps_and_losses(drawing):
    result, figure = drawing
    told = [text.get_text() for text in texts(figure)]
    layers = {"conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1"}
    assert layers | {"step 0", "step 5", "Made by a test, with a $ in it."} <= set(told)
    first, last = float(result.losses[0]), float(result.losses.min())
    assert f"{first:.2g} → {last:.2g}" in told
    content = result.history["content conv4_2"][:, 0] / 2.0  # without alpha
    best = int(result.losses.argmin())
    assert f"{float(content[0]):.2g} → {float(content[best]):.2g}" in told
    style = result.history["style conv3_1"][:, 0] * 5  # without w_l
    assert f"{float(style[0]):.2g} → {float(style[best]):.2g}" in told
    # Cards, Gram matrices, maps that are not compared, four images and the gradient.
    assert len(pictures(figure)) == 6 * 9 + 5 * 3 + 5 + 4 + 1


@pytest.fixture
def arrows(monkeypatch):
    """The points of each arrow that is drawn."""
    found, arrow = [], Canvas.arrow
    monkeypatch.setattr(
        Canvas,
        "arrow",
        lambda self, *points, **look: (found.append(points), arrow(self, *points, **look)),
    )
    return found


def test_arrows_lead_from_a_step_to_the_maps_of_that_step(arrows, drawing):
    axes = drawing[1].axes[0]
    images = [image.get_extent() for image in axes.images]
    for step in ("step 0", "step 5"):
        (heading,) = [
            text for text in axes.texts if "F^l" in text.get_text() and step in text.get_text()
        ]
        (label,) = [text for text in axes.texts if text.get_text() == step]
        x, y = label.get_position()
        left, right, _, top = min(
            images, key=lambda box: abs((box[0] + box[1]) / 2 - x) + abs(box[2] - y)
        )
        (way,) = [
            points
            for points in arrows
            if left < points[0][0] < right and 0 < points[0][1] - top < 0.1
        ]
        lowest = min(
            box[2] for box in images if box[0] < heading.get_position()[0] < box[1] and box[2] > top
        )
        assert way[-1][0] == pytest.approx(heading.get_position()[0], abs=0.01)
        assert 0 < lowest - way[-1][1] < 0.1  # below the maps of the first layer


def test_its_texts_lie_within_it_and_not_upon_each_other(drawing):
    assert not overlapping(drawing[1])


def test_the_drawings_of_a_network_show_what_they_are_given(tiny_network):
    network = tiny_network(dtype=torch.float32)
    photograph = torch.rand(1, 3, 64, 96)
    layers = ["conv1_1", "conv2_1"]
    features = network(photograph, [*layers, "conv2_2", "conv3_1"])
    maps = {layer: features[layer] for layer in layers}
    fields = {"conv1_1": 3, "conv2_1": 10}
    drawn = {"maps": diagrams.feature_maps(photograph, maps, fields, "a foot")}

    boxes = {"conv1_1": [(31, 33), (47, 49)], "conv2_1": [(27, 36), (43, 52)]}
    strengths = dict.fromkeys(layers, torch.rand(64, 96))
    drawn["fields"] = diagrams.receptive_fields(photograph, boxes, strengths, fields)
    assert [array.shape[:2] for array in pictures(drawn["fields"])[1:]] == [(3, 3), (10, 10)]

    shown = {"one": photograph, "two": features["conv2_2"][0, 0]}
    drawn["table"] = diagrams.gram_table(shown, [maps, maps], "a foot")
    told = {name: {t.get_text() for t in texts(figure)} for name, figure in drawn.items()}
    assert {"input", "conv2_1", "a foot"} <= told["maps"]
    assert {"conv1_1\n3 × 3 px", "conv2_1\n10 × 10 px"} <= told["fields"]
    assert {"one", "two", "conv1_1", "conv2_1"} <= told["table"]
    for name, figure in drawn.items():
        assert not overlapping(figure), name


def test_numbers_stand_in_their_cells_and_the_marked_block_is_framed():
    left, right = torch.tensor([[1.0, -2.0, 0.0], [3.5, 4.0, -8.0]]), torch.tensor([[7.0], [9.0]])
    figure = diagrams.number_tables([left, "=", right], ["F", "", "G"], {0: (0, 1, 1, 2)})
    figure.draw_without_rendering()
    assert not overlapping(figure)
    where = {text.get_text(): text.get_position() for text in texts(figure)}
    assert set(where) == {"1", "−2", "0", "3.5", "4", "−8", "7", "9", "=", "F", "G"}
    assert where["1"][0] == where["3.5"][0] < where["−2"][0] < where["0"][0] < where["7"][0]
    assert where["1"][1] == where["−2"][1] == where["7"][1] > where["4"][1] == where["9"][1]
    first, second = pictures(figure)
    assert first.argmin() == 5 and first[0, 2] == 0.5 and second[1, 0] > second[0, 0] > 0.5
    (frame,) = [patch for patch in figure.axes[0].patches if patch.get_linewidth() > 2]
    corners = frame.get_bbox()
    inside = [name for name, place in where.items() if corners.contains(*place)]
    assert inside == ["−2", "0"]


def test_an_image_that_is_enlarged_much_shows_its_pixels():
    """Smooth enlargement would draw rings around edges that are not in the image."""
    canvas, image = Canvas(4.0, 4.0), torch.rand(1, 3, 16, 16)
    canvas.picture(image, (0.0, 0.0, 15 * 6 / DPI, 15 * 6 / DPI))
    canvas.picture(image, (0.0, 0.0, 17 * 6 / DPI, 17 * 6 / DPI))
    drawn = [each.get_interpolation() for each in canvas.axes.images]
    assert drawn == ["lanczos", "nearest"]
