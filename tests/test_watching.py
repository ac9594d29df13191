"""What an open notebook shows of a running optimisation; tests/test_browser.py sees it happen."""

import io
from types import SimpleNamespace

import IPython.display
import pytest
import torch
from PIL import Image

from stylelab import gallery, networks
from stylelab.figures import Lab, records, watching
from stylelab.optimisation import optimise

START = torch.stack([torch.full((3, 10, 20), 1.0), torch.full((3, 10, 20), 0.5)])


class Page:
    """In place of a notebook's page: what is displayed, and how it is updated."""

    def __init__(self, shown=None) -> None:
        self.shown = [shown]

    def update(self, shown, raw=False) -> None:
        self.shown.append(shown if not raw else dict(shown))


@pytest.fixture
def pages(monkeypatch):
    """The displays that are made; the clock goes on by 0.6 seconds at each look at it."""
    made, clock = [], iter(range(10_000))

    def display(shown, display_id):
        made.append(Page(shown))
        return made[-1]

    monkeypatch.setattr(IPython.display, "display", display)
    now = SimpleNamespace(monotonic=lambda: 0.6 * next(clock))
    monkeypatch.setattr(watching, "time", now)
    return made


def run(steps, hook=None, start=START):
    """From 1 and 0.5 towards 0, half of the way each step."""

    def value_and_grad(image):
        return {"height": image.square().sum((1, 2, 3))}, 2 * image

    def halving(value_and_grad, z, resume=None):
        for step in range(10_000):
            terms, _ = value_and_grad(z)
            yield watching.State(
                step, z, terms, terms["height"], z, terms["height"], torch.zeros(len(z)), dict
            )
            z = z / 2

    hooks = [watching.watch, *([hook] if hook else [])]
    objective = SimpleNamespace(value_and_grad=value_and_grad)
    return optimise(objective, start, steps, optimiser=halving, hooks=hooks, progress=False)


def test_pictures_and_losses_are_shown_and_disappear_at_the_end(pages):
    run(6)
    pictures, words = (page.shown for page in pages)
    assert len(pictures) == len(words) >= 4
    assert pictures[-1] == words[-1] == {}
    assert words[0].data.startswith("step 1 of 6; loss 25 %, 25 % of that at the start")
    with Image.open(io.BytesIO(pictures[0].data)) as strip:
        width, height = strip.size
        assert height == watching.HEIGHT and width == 2 * (2 * height + 4)
        grey = [strip.convert("L").getpixel((x, height // 2)) for x in (9, width - 20, width - 1)]
    assert grey == pytest.approx([128, 64, 255], abs=6)


def test_a_short_run_shows_nothing(pages):
    run(0)
    assert not pages


def test_they_also_disappear_after_an_interrupt(pages):
    def interrupt(run, states):
        for state in states:
            yield state
            if state.step == 4:
                raise KeyboardInterrupt

    assert run(9, interrupt).interrupted
    assert pages and all(page.shown[-1] == {} for page in pages)


def test_of_a_large_batch_some_are_shown(pages):
    run(6, start=torch.ones(20, 3, 10, 20))
    pictures, words = (page.shown for page in pages)
    assert words[0].data.count("25 %") == watching.MOST and "and 14 more" in words[0].data
    with Image.open(io.BytesIO(pictures[0].data)) as strip:
        assert strip.width == watching.MOST * (2 * strip.height + 4)


@pytest.mark.parametrize(
    ("variables", "watched"),
    [
        ({}, False),
        ({"JPY_SESSION_NAME": "a.ipynb"}, True),
        ({"JPY_SESSION_NAME": "a.ipynb", records.NOTES: "notes"}, False),
    ],
)
def test_only_a_notebook_that_is_open_is_watched(
    monkeypatch, tmp_path, tiny_network, variables, watched
):
    for name in ("JPY_SESSION_NAME", records.NOTES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    network = tiny_network()
    before = tuple(network.hooks)
    monkeypatch.setattr(networks, "load", lambda name, device: network)
    monkeypatch.setattr(gallery, "cast", lambda kind: {})
    lab = Lab("quick", "tiny", "embedded", 48, 3, 0, "cpu", tmp_path)
    assert tuple(lab.network.hooks) == (*before, *([watching.watch] if watched else []))
