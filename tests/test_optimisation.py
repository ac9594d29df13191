"""The loop: hooks, interrupts, other optimisers, and what a result holds."""

import itertools
from functools import partial

import pytest
import torch

from stylelab import optimisation, synthesis
from stylelab.errors import SettingError
from stylelab.lbfgs import State
from stylelab.optimisation import optimise, white_noise

START = torch.tensor([[0.2], [0.9]]).expand(2, 12).reshape(2, 3, 2, 2)


class Valley:
    """A valley along x = y^2 in each image, with its ground in pixels of 0.5."""

    def __init__(self):
        self.evaluations = 0

    def value_and_grad(self, image):
        self.evaluations += 1
        x = image.detach().requires_grad_()
        bend = (x[..., 0] - x[..., 1].square() - 0.25).square().sum((1, 2))
        goal = (x - 0.5).square().sum((1, 2, 3))
        (gradient,) = torch.autograd.grad((10 * bend + goal).sum(), x)
        return {"bend": 10 * bend.detach(), "goal": goal.detach()}, gradient


run = partial(optimise, progress=False)


def noting(log, name, objective):
    def hook(run, states):
        for state in states:
            log.append((name, state.step, objective.evaluations))
            yield state

    return hook


def test_hooks_wrap_in_order_and_see_each_state_before_the_next_step():
    objective, log, seen = Valley(), [], []
    hooks = [noting(log, name, objective) for name in ("inner", "outer")]
    hooks.append(lambda run, states: seen.append(run) or states)
    run(objective, START, 3, hooks=hooks, label="a valley")
    assert seen[0].objective is objective and seen[0].start is START
    assert (seen[0].steps, seen[0].label) == (3, "a valley")
    assert log == [(name, step, step + 1) for step in range(4) for name in ("inner", "outer")]


@pytest.mark.parametrize("when", ["a hook returns", "a hook interrupts", "the objective does"])
def test_a_run_that_is_ended_early_gives_the_best_images_so_far(when):
    whole, objective = run(Valley(), START, 8), Valley()

    def ending(run, states):
        for state in states:
            yield state
            if state.step == 5 and when == "a hook interrupts":
                raise KeyboardInterrupt
            if state.step == 5 and when == "a hook returns":
                return

    if when == "the objective does":
        evaluate = objective.value_and_grad

        def interrupted(image):
            if objective.evaluations == 6:
                raise KeyboardInterrupt
            return evaluate(image)

        objective.value_and_grad = interrupted
    result = run(objective, START, 500, hooks=[ending])
    assert result.interrupted and not result.stuck and not whole.interrupted
    assert result.steps == 5 and torch.equal(result.losses, whole.losses[:6])
    assert torch.equal(result.images, run(Valley(), START, 5).images)


def test_an_interrupt_before_the_first_state_is_one():
    def interrupting(run, states):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        run(Valley(), START, 5, hooks=[interrupting])


def gradient_descent(value_and_grad, start, *, resume=None):
    """Another optimiser."""
    image, none = start, torch.zeros(len(start), dtype=torch.int64)
    for step in itertools.count():
        terms, gradient = value_and_grad(image)
        loss = sum(terms.values())
        yield State(step, image, terms, loss, image, loss, none, snapshot=dict)
        image = image - 0.01 * gradient


def test_another_optimiser():
    result = run(Valley(), START, 200, optimiser=gradient_descent)
    image, losses = START, []
    for _ in range(201):
        terms, gradient = Valley().value_and_grad(image)
        last, image = image, image - 0.01 * gradient
        losses.append(sum(terms.values()))
    torch.testing.assert_close(result.images, last)
    torch.testing.assert_close(result.losses, torch.stack(losses))
    assert result.steps == 200 and set(result.history) == {"bend", "goal"}
    assert (result.losses[-1] < 0.1 * result.losses[0]).all()


def test_a_networks_hooks_watch_unless_others_are_given(tiny_network):
    network, log, image = tiny_network(), [], torch.rand(1, 3, 32, 32)
    network.hooks = (noting(log, "the network's", Valley()),)
    asked = {"steps": 1, "progress": False}
    synthesis.reconstruct_content(network, image, ["conv1_1"], **asked)
    assert [step for _, step, _ in log] == [0, 1]
    synthesis.reconstruct_content(network, image, ["conv1_1"], hooks=[], **asked)
    assert len(log) == 2
    others = [*network.hooks, noting(log, "another", Valley())]
    synthesis.reconstruct_content(network, image, ["conv1_1"], hooks=others, **asked)
    assert len(log) == 6


def test_progress_is_shown_unless_it_is_not_wanted(capsys):
    run(Valley(), START, 3, label="a valley")
    assert capsys.readouterr().err == ""
    optimise(Valley(), START, 3, label="a valley")
    assert "a valley: 100%" in (said := capsys.readouterr().err) and "3/3" in said


@pytest.mark.parametrize("steps", [-1, 1.5, True, "3", None])
def test_steps_are_a_whole_number(steps):
    with pytest.raises(SettingError, match="steps must be"):
        run(Valley(), START, steps)


def test_no_steps_evaluate_the_start():
    start = START * 4 - 1
    result = run(Valley(), start, 0)
    torch.testing.assert_close(result.images, start.clamp(0, 1))
    assert result.losses.shape == (1, 2) and result.steps == 0 and not result.interrupted


class Broken(Valley):
    """A valley in which steps of the first `images` fail from the fifth on."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def value_and_grad(self, image):
        terms, gradient = super().value_and_grad(image)
        if self.evaluations > 5:
            terms["goal"][: self.images] = torch.nan
        return terms, gradient


def test_a_run_ends_where_no_image_can_move_any_more():
    result, good = run(Broken(2), START, 10_000), run(Valley(), START, 4)
    assert result.stuck and not result.interrupted
    assert 4 + optimisation.STUCK <= result.steps <= 4 + optimisation.STUCK + 10
    assert torch.equal(result.images, good.images) and result.losses.isfinite().all()


def test_an_image_that_cannot_move_does_not_stop_the_others():
    result, good = run(Broken(1), START, 60), run(Valley(), START, 60)
    assert result.stuck and result.steps == 60 and not result.interrupted
    torch.testing.assert_close(result.images[1], good.images[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_are_single_precision_whatever_they_are_made_in(dtype):
    result = run(Valley(), START.to(dtype), 30)
    assert result.images.dtype == torch.float32 and result.images.shape == START.shape
    torch.testing.assert_close(
        result.images, torch.full_like(result.images, 0.5), atol=2e-3, rtol=0
    )


def test_a_start_made_in_inference_mode():
    expected = run(Valley(), START, 5)
    with torch.inference_mode():
        result = run(Valley(), START.clone(), 5)
    assert torch.equal(result.images, expected.images) and not result.images.is_inference()


def test_white_noise_depends_on_its_seed_alone():
    noise = white_noise(20, 30, [5, 6])
    assert noise.shape == (2, 3, 20, 30) and torch.equal(noise[1:], white_noise(20, 30, [6]))
    assert not torch.equal(noise[0], noise[1])
    assert noise.min() >= 0.4 and noise.max() <= 0.6
    assert noise.std() == pytest.approx(0.05 / 12**0.5, rel=0.05)
