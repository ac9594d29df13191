"""Adam: against PyTorch's and its formula, in batches, resumed, and under attack."""

import itertools

import pytest
import torch
from problems import NAN, STARTS, rosenbrock, value_and_grad

from stylelab.adam import adam
from stylelab.errors import SettingError


def run(function, start, steps, **options):
    return list(itertools.islice(adam(value_and_grad(function), start, **options), steps + 1))


@pytest.mark.parametrize("means", [(0.9, 0.99), (0.5, 0.999), (0.0, 0.9)])
def test_it_is_pytorchs_adam(means):
    """Image by image, since PyTorch's adds one number to every root."""
    states = run(rosenbrock, STARTS, 100, learning_rate=0.03, means=means, least=0.1)
    for i, start in enumerate(STARTS):
        x = start.clone()[None].requires_grad_()
        (first,) = torch.autograd.grad(rosenbrock(x).sum(), x)
        least = 0.1 * float(first.square().mean().sqrt())
        theirs = torch.optim.Adam([x], lr=0.03, betas=means, eps=least)
        for state in states:
            torch.testing.assert_close(state.image[i : i + 1], x.detach(), atol=1e-9, rtol=1e-8)
            theirs.zero_grad()
            rosenbrock(x).sum().backward()
            theirs.step()


def test_the_first_steps_are_those_of_the_formula():
    """With gradients of 3, then 1, then -2: algorithm 1 of Kingma and Ba, by hand."""
    gradients = iter([3.0, 1.0, -2.0, 0.0])

    def evaluate(x):
        return {"loss": torch.zeros(1).double()}, torch.full_like(x, next(gradients))

    start = torch.zeros(1, 1, dtype=torch.float64)
    how = {"learning_rate": 0.1, "means": (0.5, 0.8), "least": 0.5}
    found = [state.image.item() for state in itertools.islice(adam(evaluate, start, **how), 4)]
    # means 1.5, 1.25, -0.375 over 0.5, 0.75, 0.875; squares 1.8, 1.64, 2.112 over 0.2, 0.36, 0.488
    steps = [0.1 * 3 / (3 + 1.5), 0.1 * (1.25 / 0.75) / ((1.64 / 0.36) ** 0.5 + 1.5)]
    steps.append(0.1 * (-0.375 / 0.875) / ((2.112 / 0.488) ** 0.5 + 1.5))
    expected = [0.0, *itertools.accumulate(-step for step in steps)]
    assert found == pytest.approx(expected, rel=1e-7)


def test_a_mean_of_the_iterates_can_stand_for_the_best():
    """The exponential mean, corrected as Adam's others are; steps taken back do not count."""
    calls = itertools.count()

    def poisoned(x):
        return rosenbrock(x) * (NAN if next(calls) == 5 else 1.0)

    plain, mean = (run(rosenbrock, STARTS, 30, average=a) for a in (0.0, 0.8))
    total, weight = torch.zeros_like(STARTS), 0.0
    for one, other in zip(plain, mean, strict=True):
        assert torch.equal(one.image, other.image)
        total, weight = 0.8 * total + 0.2 * one.image, 0.8 * weight + 0.2
        torch.testing.assert_close(other.best, total / weight)
        assert torch.equal(other.best_loss, other.loss)
    states = run(poisoned, STARTS[:1], 6, average=0.8)
    assert torch.equal(states[5].best, states[4].best)
    assert not torch.equal(states[6].best, states[5].best)
    for average in (1.0, -0.1, NAN):
        with pytest.raises(SettingError, match="average must be from 0"):
            run(rosenbrock, STARTS, 1, average=average)


@pytest.mark.parametrize("count", [4, 1])
def test_a_snapshot_is_gone_on_from_to_the_last_bit(count):
    start, calls = STARTS[:count], itertools.count()

    def poisoned(x):
        return rosenbrock(x) * (NAN if next(calls) in (5, 9, 10) else 1.0)

    whole, snapshots = [], []
    for state in itertools.islice(adam(value_and_grad(poisoned), start), 21):
        whole.append(state)
        snapshots.append({name: tensor.clone() for name, tensor in state.snapshot().items()})
    for step in (0, 1, 4, 5, 9, 10, 17):
        calls = itertools.count(step + 1)
        again = run(poisoned, start, 20 - step, resume=snapshots[step])
        for a, b in zip(whole[step:], again, strict=True):
            assert a.step == b.step and torch.equal(a.terms["loss"], b.terms["loss"])
            for name in ("image", "loss", "refused", "best", "best_loss"):
                assert torch.equal(getattr(a, name), getattr(b, name)), name
    for state, snapshot in zip(whole, snapshots, strict=True):  # no later step has changed it
        for name, tensor in state.snapshot().items():
            assert torch.equal(tensor, snapshot[name]), name


@pytest.mark.parametrize(
    ("missing", "changed", "said"),
    [
        *((name, {}, name) for name in ("step", "x", "mean", "square", "rate")),
        ("term loss", {}, "no terms"),
        (None, {"start": STARTS[:2]}, r"\(2, 2\), got \(4, 2\)"),
    ],
)
def test_refuses_the_snapshot_of_another_problem(missing, changed, said):
    snapshot = run(rosenbrock, STARTS, 5)[-1].snapshot()
    snapshot.pop(missing, None)
    with pytest.raises(SettingError, match=f"resume is not a snapshot.*{said}"):
        run(rosenbrock, **{"start": STARTS, "steps": 1, "resume": snapshot} | changed)


def test_an_image_in_a_batch_follows_the_path_it_follows_alone():
    """Also beside an image whose losses are not finite now and then."""
    calls = itertools.count()

    def poisoned(x):
        factor = torch.ones(len(x)).double()
        factor[0] = NAN if next(calls) in (5, 9, 10) else 1.0
        return rosenbrock(x) * factor

    together = run(poisoned, STARTS, 60)
    assert together[10].refused.tolist() == [2, 0, 0, 0]
    for i in range(1, len(STARTS)):
        for a, b in zip(together, run(rosenbrock, STARTS[i : i + 1], 60), strict=True):
            torch.testing.assert_close(a.image[i : i + 1], b.image, atol=1e-12, rtol=1e-9)


def test_a_step_taken_back_is_tried_with_a_quarter_of_the_rate():
    """Where the gradient stays, each step is as long as the rate."""
    bad = (3, 6, 7)

    def evaluate(x):
        step = next(steps)
        gradient = torch.ones_like(x) * (NAN if step == 6 else 1.0)
        return {"loss": torch.full((len(x),), NAN if step in (3, 7) else 9.0 - step)}, gradient

    steps = itertools.count()
    start = torch.zeros(1, 2, 3, dtype=torch.float64)
    how = {"learning_rate": 0.1, "least": 1e-8}
    states = list(itertools.islice(adam(evaluate, start, **how), 12))
    assert [int(state.refused) for state in states] == [0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 0, 0]
    moves = [float((a.image - b.image).mean()) for a, b in itertools.pairwise(states)]
    expected = [0.1, 0.1, 0.0, 0.025, 0.05, 0.0, 0.0, 0.00625, 0.0125, 0.025, 0.05]
    assert moves == pytest.approx(expected, rel=1e-6)
    for step in bad:
        assert torch.equal(states[step].image, states[step - 1].image)
        assert torch.equal(states[step].loss, states[step - 1].loss)


def test_the_best_never_gets_worse_and_its_loss_is_its_own():
    states = run(rosenbrock, STARTS, 60, learning_rate=0.3, least=1e-8)
    assert any((b.loss > a.loss).any() for a, b in itertools.pairwise(states))  # it swings
    for before, after in itertools.pairwise(states):
        assert (after.best_loss <= before.best_loss).all()
    for state in states:  # all of them: no state is changed by a later step
        torch.testing.assert_close(rosenbrock(state.best), state.best_loss)
        torch.testing.assert_close(rosenbrock(state.image), state.loss)


def test_stays_at_a_minimum():
    for state in run(lambda x: x.square().sum(1), torch.zeros(2, 3), 5):
        assert (state.image == 0).all() and (state.loss == 0).all() and not state.refused.any()


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_any_scale_of_the_loss_takes_the_same_path(scale):
    plain = run(rosenbrock, STARTS, 30)[-1].image
    scaled = run(lambda x: scale * rosenbrock(x), STARTS, 30)[-1].image
    torch.testing.assert_close(scaled, plain, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("function", "second"), [(torch.log, -1.0), (torch.sqrt, 0.0)])
def test_refuses_a_start_whose_loss_or_gradient_is_not_finite(function, second):
    start = torch.tensor([[1.0], [second]])
    with pytest.raises(SettingError, match="image 1 .*must be finite"):
        next(adam(value_and_grad(lambda x: function(x[:, 0])), start))


@pytest.mark.parametrize("options", [{"learning_rate": 0.0}, {"means": (0.9, 1.0)}, {"least": 0}])
def test_refuses_settings_out_of_range(options):
    with pytest.raises(SettingError, match=next(iter(options))):
        next(adam(value_and_grad(rosenbrock), STARTS, **options))
