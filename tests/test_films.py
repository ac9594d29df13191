"""stylelab.figures.films: which steps a film shows, and the file it makes of them."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageSequence

from stylelab.errors import SettingError
from stylelab.figures import films
from stylelab.optimisation import optimise


@pytest.mark.parametrize("steps", [0, 1, 2, 29, 30, 500, 100_000])
def test_moments_are_few_begin_and_end_and_slow_down(steps):
    found = films.moments(steps)
    assert found[0] == 0 and found[-1] == steps and len(found) <= 30
    gaps = [b - a for a, b in itertools.pairwise(found)]
    assert all(gap > 0 for gap in gaps)
    assert all(later >= gap - 1 for gap, later in itertools.pairwise(gaps))  # rounding


def test_a_film_keeps_the_images_of_a_run():
    """The objective is a parabola around 0.3; every state after the start is nearer to it."""

    def value_and_grad(image):
        return {"distance": (image - 0.3).square().sum((1, 2, 3))}, 2 * (image - 0.3)

    film, start = films.Film(), torch.full((1, 3, 4, 5), 1.5)
    result = optimise(
        SimpleNamespace(value_and_grad=value_and_grad), start, 4, hooks=[film], progress=False
    )
    assert list(film.frames) == films.moments(4) == [0, 1, 2, 3, 4]
    assert (film.frames[0] == 1).all()  # clamped
    torch.testing.assert_close(film.frames[result.steps], result.images)


def test_an_animation_shows_its_frames_in_order_and_rests_on_the_last(tmp_path):
    frames = {step: torch.full((1, 3, 30, 40), step / 10) for step in (0, 3, 10)}
    path = films.save_animation(frames, "film", tmp_path)
    assert path == tmp_path / "film.gif" and [*tmp_path.iterdir()] == [path]
    with Image.open(path) as film:
        assert film.is_animated and film.info["loop"] == 0
        assert film.size == (200, 150 + films.STRIP)
        pages = [
            (page.convert("L"), page.info["duration"]) for page in ImageSequence.Iterator(film)
        ]
    assert [duration for _, duration in pages] == [120, 120, 2000]
    for (page, _), brightness in zip(pages, (0, 77, 255), strict=True):
        assert abs(page.getpixel((100, 75)) - brightness) <= 3
        strip = page.crop((0, 150, 200, 150 + films.STRIP))
        assert strip.getextrema()[0] < 100  # the label


def test_frames_that_make_no_animation(tmp_path):
    sizes = {0: torch.zeros(1, 3, 30, 40), 1: torch.zeros(1, 3, 30, 41)}
    for frames in ({}, sizes):
        with pytest.raises(SettingError):
            films.save_animation(frames, "film", tmp_path)
    assert not [*tmp_path.iterdir()]
