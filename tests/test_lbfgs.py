"""L-BFGS: against the formulas it stands for, in batches, resumed, and under attack."""

import itertools
from collections import deque

import pytest
import torch
from problems import NAN, STARTS, rosenbrock, value_and_grad

from stylelab.errors import SettingError
from stylelab.lbfgs import lbfgs


def run(function, start, steps, **options):
    return list(itertools.islice(lbfgs(value_and_grad(function), start, **options), steps + 1))


def test_finds_the_minimum_of_a_hard_valley_from_everywhere():
    last = run(rosenbrock, STARTS, 120)[-1]
    torch.testing.assert_close(last.best, torch.ones_like(STARTS), atol=1e-5, rtol=0)


def test_direction_is_that_of_the_dense_bfgs_formula():
    basis = torch.randn(6, 6, dtype=torch.float64)
    matrix = basis @ basis.T + torch.eye(6, dtype=torch.float64)
    states = run(lambda x: 0.5 * ((x @ matrix) * x).sum(1), torch.randn(1, 6).double(), 5)
    assert not any(state.refused.any() for state in states)
    xs = [state.image[0] for state in states]
    pairs = [(b - a, (b - a) @ matrix) for a, b in itertools.pairwise(xs[:-1])]
    s, y = pairs[-1]
    inverse = torch.eye(6, dtype=torch.float64) * (s @ y) / (y @ y)
    for s, y in pairs:
        rho = 1 / (s @ y)
        left = torch.eye(6, dtype=torch.float64) - rho * torch.outer(s, y)
        inverse = left @ inverse @ left.T + rho * torch.outer(s, s)
    expected = -inverse @ (matrix @ xs[-2])
    moved = xs[-1] - xs[-2]
    torch.testing.assert_close(moved / moved.norm(), expected / expected.norm())


def by_the_book(evaluate, x, steps, *, history, patience, first_step):
    """The path of one image: the two-loop recursion (algorithm 7.4) and the guards, step by step.

    `evaluate(step, x)` returns a loss and a gradient.
    """
    loss, gradient = evaluate(0, x)
    pairs, gamma, radius = deque(maxlen=history), 0.0, first_step * len(x) ** 0.5
    recent, refused, path = [loss] * patience, 0, [x]
    for step in range(1, steps + 1):
        q, alphas, known = gradient, [], [pair for pair in pairs if pair]
        for s, y in reversed(known):
            alphas.append((s @ q) / (s @ y))
            q = q - alphas[-1] * y
        direction = -gamma * q
        for (s, y), alpha in zip(known, reversed(alphas), strict=True):
            direction = direction - (alpha + (y @ direction) / (s @ y)) * s
        length = min(float(direction.norm()), radius)
        if not direction @ gradient < 0:
            pairs.clear()
            direction, gamma, length = -gradient, 0.0, radius
        s = direction * (length / direction.norm())
        new_loss, new_gradient = evaluate(step, x + s)
        accepted = bool(new_loss <= max(recent))
        y = new_gradient - gradient
        curved = accepted and s @ y > 1e-10 * s.norm() * y.norm()
        pairs.append((s, y) if curved else None)  # a pair that does not count takes a place
        gamma = (s @ y) / (y @ y) if curved else gamma
        refused = 0 if accepted else refused + 1
        if refused > 1:
            pairs.clear()
            gamma = 0.0
        radius = max(radius, 2 * length) if accepted else length / 4
        if accepted:
            x, loss, gradient = x + s, new_loss, new_gradient
        recent = [*recent[1:], loss]
        path.append(x)
    return path


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 5e-2)])
def test_the_path_of_each_image_is_that_of_the_two_loop_recursion(dtype, tolerance):
    """Also where steps are refused, singly and two in a row, and where the gradient stays."""
    scales = torch.logspace(0, 2, 40, dtype=torch.float64)
    mixing = torch.randn(40, 40, dtype=torch.float64)
    bad, stays = ((4, 9, 10, 17), (21,), ()), ((), (), (13,))  # for each of three images
    gradients = [None] * 3

    def evaluate(i, step, x):
        if step not in stays[i]:
            gradients[i] = 2 * scales * x + 0.4 * x**3 - 2 * mixing @ (mixing.T @ x).sin()
        loss = (scales * x**2 + 0.1 * x**4).sum() + 2 * (mixing.T @ x).cos().sum()
        return (loss * NAN if step in bad[i] else loss), gradients[i]

    def batched(x):
        step, results = next(steps), []
        for i, row in enumerate(x.double()):
            results.append(evaluate(i, step, row))
        losses, slopes = (torch.stack(values).to(dtype) for values in zip(*results, strict=True))
        return {"loss": losses}, slopes

    options = {"history": 6, "patience": 4, "first_step": 0.05}  # the ring wraps six times
    start, steps = torch.randn(3, 40, dtype=torch.float64), itertools.count()
    states = list(itertools.islice(lbfgs(batched, start.to(dtype), **options), 41))
    assert all(states[step].refused[i] for i, steps in enumerate(bad) for step in steps)
    assert not states[13].refused[2]
    for i in range(3):
        path = by_the_book(lambda step, x, i=i: evaluate(i, step, x), start[i], 40, **options)
        for state, x in zip(states, path, strict=True):
            error = (state.image[i] - x).norm() / (path[0] - path[-1]).norm()
            assert error < tolerance, (i, state.step)


@pytest.mark.parametrize("count", [4, 1])
def test_a_snapshot_is_gone_on_from_to_the_last_bit(count):
    start, whole, snapshots = STARTS[:count], [], []
    for state in itertools.islice(lbfgs(value_and_grad(rosenbrock), start, history=4), 21):
        whole.append(state)
        snapshots.append({name: tensor.clone() for name, tensor in state.snapshot().items()})
    for step in (0, 1, 2, 4, 5, 11, 17):
        again = run(rosenbrock, start, 20 - step, history=4, resume=snapshots[step])
        for a, b in zip(whole[step:], again, strict=True):
            assert a.step == b.step and torch.equal(a.terms["loss"], b.terms["loss"])
            for name in ("image", "loss", "refused", "best", "best_loss"):
                assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize("how", ["next", "closed", "broken off"])
def test_a_snapshot_can_be_too_late(how):
    calls = itertools.count()

    def breaking(x):
        if next(calls) == 3 and how == "broken off":
            raise KeyboardInterrupt
        return rosenbrock(x)

    states = lbfgs(value_and_grad(breaking), STARTS)
    last = [next(states) for _ in range(3)][-1]
    assert last.snapshot()["step"] == 2
    if how == "broken off":
        with pytest.raises(KeyboardInterrupt) as caught:
            next(states)
        assert caught.tb  # it keeps alive what the generator had
    else:
        states.close() if how == "closed" else next(states)
    with pytest.raises(SettingError, match="step 2 must be taken before the next step"):
        last.snapshot()


@pytest.mark.parametrize(
    ("missing", "changed", "said"),
    [
        *((name, {}, name) for name in ("step", "x", "gradient", "pairs", "recent")),
        ("term loss", {}, "no terms"),
        (None, {"start": STARTS[:2]}, r"\(2, 2\), got \(4, 2\)"),
        (None, {"history": 5}, "pairs"),
    ],
)
def test_refuses_the_snapshot_of_another_problem(missing, changed, said):
    states = lbfgs(value_and_grad(rosenbrock), STARTS, history=4)
    snapshot = dict(next(itertools.islice(states, 5, None)).snapshot())
    snapshot.pop(missing, None)
    with pytest.raises(SettingError, match=f"resume is not a snapshot.*{said}"):
        run(rosenbrock, **{"start": STARTS, "steps": 1, "history": 4, "resume": snapshot} | changed)


def test_an_image_in_a_batch_follows_the_path_it_follows_alone():
    """Also beside an image whose losses are not finite now and then."""
    calls = itertools.count()

    def poisoned(x):
        factor = torch.ones(len(x)).double()
        factor[0] = NAN if next(calls) in (5, 9, 10) else 1.0
        return rosenbrock(x) * factor

    together = run(poisoned, STARTS, 60)
    for i in range(1, len(STARTS)):
        for a, b in zip(together, run(rosenbrock, STARTS[i : i + 1], 60), strict=True):
            torch.testing.assert_close(a.image[i : i + 1], b.image, atol=1e-12, rtol=1e-9)
            assert a.refused[i] == b.refused[0]


def test_the_best_never_gets_worse_and_its_loss_is_its_own():
    states = run(rosenbrock, STARTS, 60)
    for before, after in itertools.pairwise(states):
        assert (after.best_loss <= before.best_loss).all()
    for state in states:  # all of them: no state is changed by a later step
        torch.testing.assert_close(rosenbrock(state.best), state.best_loss)
        torch.testing.assert_close(rosenbrock(state.image), state.loss)


def test_stays_at_a_minimum():
    for state in run(lambda x: x.square().sum(1), torch.zeros(2, 3), 5):
        assert (state.image == 0).all() and (state.loss == 0).all() and not state.refused.any()


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_any_scale_of_loss_or_image_takes_the_same_path(scale):
    plain = run(rosenbrock, STARTS, 30)[-1].image
    by_loss = run(lambda x: scale * rosenbrock(x), STARTS, 30)[-1].image
    start, first_step = STARTS * scale, 0.02 * scale
    by_image = run(lambda x: rosenbrock(x / scale), start, 30, first_step=first_step)[-1].image
    torch.testing.assert_close(by_loss, plain, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(by_image / scale, plain, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(("function", "second"), [(torch.log, -1.0), (torch.sqrt, 0.0)])
def test_refuses_a_start_whose_loss_or_gradient_is_not_finite(function, second):
    start = torch.tensor([[1.0], [second]])
    with pytest.raises(SettingError, match="image 1 .*must be finite"):
        next(lbfgs(value_and_grad(lambda x: function(x[:, 0])), start))


@pytest.mark.parametrize("options", [{"history": 0}, {"patience": 0}, {"first_step": 0.0}])
def test_refuses_settings_out_of_range(options):
    with pytest.raises(SettingError, match=next(iter(options))):
        next(lbfgs(value_and_grad(rosenbrock), STARTS, **options))


def follow(losses, **options):
    """Ever the same slope, with the losses named, so that steps are all that can be seen."""
    given, start = iter(losses), torch.zeros(1, 2, 3, dtype=torch.float64)

    def evaluate(x):
        return {"loss": torch.full((len(x),), next(given)).double()}, torch.ones_like(x)

    return list(itertools.islice(lbfgs(evaluate, start, **options), len(losses)))


def test_a_step_kept_doubles_the_radius_and_one_taken_back_quarters_it():
    down = iter(range(100, 0, -1))
    states = follow([NAN if i in (4, 7, 8) else next(down) for i in range(11)], first_step=0.1)
    moves = [b.image - a.image for a, b in itertools.pairwise(states)]  # each straight down
    expected = [0.1, 0.2, 0.4, 0.0, 0.2, 0.4, 0.0, 0.0, 0.05, 0.1]  # 0.8, 0.8 and 0.2 taken back
    for move, length in zip(moves, expected, strict=True):
        torch.testing.assert_close(move, torch.full_like(move, -length))
    assert [int(state.refused) for state in states] == [0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0]


def test_a_loss_may_rise_to_the_largest_of_the_last_few():
    states = follow([10.0, 10.0, 4.0, 9.0, 3.0, 9.5, 9.0, 9.1, 8.0], patience=3)
    assert [state.loss.item() for state in states] == [10, 10, 4, 9, 3, 3, 9, 9, 8]
    assert [int(state.refused) for state in states] == [0, 0, 0, 0, 0, 1, 0, 1, 0]
    assert [state.best_loss.item() for state in states] == [10, 10, 4, 4, 3, 3, 3, 3, 3]
    for state, source in zip(states, (0, 0, 2, 2, 4, 4, 4, 4, 4), strict=True):
        assert torch.equal(state.best, states[source].image)
    assert follow([10.0, 10.5], patience=3)[1].refused
