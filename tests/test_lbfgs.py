"""L-BFGS: against torch's own, in batches, and under attack."""

import itertools

import pytest
import torch

from stylelab import lbfgs as module
from stylelab.errors import SettingError
from stylelab.lbfgs import lbfgs


def value_and_grad(function):
    """What `lbfgs` asks for, of a function from (N, D) to (N,)."""

    def evaluate(x):
        x = x.detach().requires_grad_()
        loss = function(x)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        return {"loss": loss.detach()}, gradient

    return evaluate


def run(function, start, steps, **options):
    return list(itertools.islice(lbfgs(value_and_grad(function), start, **options), steps + 1))


def rosenbrock(x):
    return (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2


STARTS = torch.tensor([[-1.2, 1.0], [3.0, -4.0], [0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)


def test_finds_the_minimum_of_a_hard_valley_from_everywhere():
    last = run(rosenbrock, STARTS, 120)[-1]
    torch.testing.assert_close(last.best, torch.ones_like(STARTS), atol=1e-5, rtol=0)


def test_direction_is_that_of_the_bfgs_formula():
    """The two-loop recursion equals the dense inverse Hessian built pair by pair."""
    torch.manual_seed(0)
    basis = torch.randn(6, 6, dtype=torch.float64)
    matrix = basis @ basis.T + torch.eye(6, dtype=torch.float64)
    states = run(lambda x: 0.5 * ((x @ matrix) * x).sum(1), torch.randn(1, 6).double(), 5)
    assert all(state.accepted.all() for state in states)
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


class Recursion(module._History):
    """The history, and beside it the two-loop recursion (algorithm 7.4), image by image."""

    errors: list[float]  # of the directions, relative to their lengths

    def __init__(self, length, like):
        super().__init__(length, like)
        self.slots, self.gamma = [[] for _ in like], [0.0] * len(like)

    def push(self, s, y, keep):
        super().push(s, y, keep)
        for i, slots in enumerate(self.slots):
            a, b = s[i].double(), y[i].double()
            kept = keep[i] and a @ b > 1e-10 * a.norm() * b.norm()
            slots.append((a, b) if kept else None)  # a pair that does not count takes a place
            del slots[: -self.length]
            self.gamma[i] = (a @ b) / (b @ b) if kept else self.gamma[i]

    def forget(self, which):
        super().forget(which)
        for i in which[:, 0].nonzero():
            self.slots[i], self.gamma[i] = [None] * len(self.slots[i]), 0.0

    def times(self, gradient):
        found = super().times(gradient)
        for i, slots in enumerate(self.slots):
            q, pairs = gradient[i].double(), [pair for pair in slots if pair]
            alphas = []
            for s, y in reversed(pairs):
                alphas.append((s @ q) / (s @ y))
                q = q - alphas[-1] * y
            r = self.gamma[i] * q
            for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
                r = r + (alpha - (y @ r) / (s @ y)) * s
            assert (r.norm() == 0) == (found[i].norm() == 0)
            if r.norm() > 0:
                self.errors.append(float((found[i].double() - r).norm() / r.norm()))
        return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_the_compact_form_is_the_two_loop_recursion(monkeypatch, dtype, tolerance):
    maker, calls = torch.Generator().manual_seed(0), itertools.count()
    scales = torch.logspace(0, 2, 40, dtype=dtype)
    mixing = torch.randn(40, 40, generator=maker, dtype=torch.float64).to(dtype)

    def poisoned(x):
        loss = (scales * x**2 + 0.1 * x**4).sum(1) + (x @ mixing).cos().sum(1)
        bad = next(calls) in (4, 9, 10, 17)  # in the first image: alone, and two in a row
        return loss + torch.tensor([torch.nan if bad else 0.0, 0.0, 0.0], dtype=dtype)

    monkeypatch.setattr(Recursion, "errors", [], raising=False)
    monkeypatch.setattr(module, "_History", Recursion)
    start = torch.randn(3, 40, generator=maker, dtype=torch.float64).to(dtype)
    states = run(poisoned, start, 40, history=6)  # the ring wraps six times
    refused = [state.step for state in states if not state.accepted[0]]
    assert {4, 9, 10, 17} <= set(refused)
    assert len(Recursion.errors) > 3 * 30 and max(Recursion.errors) < tolerance


def test_a_snapshot_is_gone_on_from_to_the_last_bit():
    whole = run(rosenbrock, STARTS, 40, history=4)
    for step in range(40):
        states = lbfgs(value_and_grad(rosenbrock), STARTS, history=4)
        snapshot = next(itertools.islice(states, step, None)).snapshot()
        again = run(rosenbrock, STARTS, 40 - step, history=4, resume=snapshot)
        for a, b in zip(whole[step:], again, strict=True):
            assert a.step == b.step and torch.equal(a.terms["loss"], b.terms["loss"])
            for name in ("image", "loss", "accepted", "best", "best_loss"):
                assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_a_snapshot_comes_too_late_with_the_next_step():
    states = lbfgs(value_and_grad(rosenbrock), STARTS)
    first = next(states)
    first.snapshot()
    next(states)
    with pytest.raises(SettingError, match="step 0 must be taken before the next step begins"):
        first.snapshot()


def test_a_snapshot_comes_too_late_when_nothing_runs_any_more():
    states = lbfgs(value_and_grad(rosenbrock), STARTS)
    first = next(states)
    states.close()
    with pytest.raises(SettingError, match="^the snapshot of step 0 must be taken before"):
        first.snapshot()


@pytest.mark.parametrize("name", ["step", "image", "gradient", "pairs", "recent", "term loss"])
def test_refuses_the_snapshot_of_another_problem(name):
    states = lbfgs(value_and_grad(rosenbrock), STARTS, history=4)
    snapshot = dict(next(itertools.islice(states, 5, None)).snapshot())
    assert run(rosenbrock, STARTS, 1, history=4, resume=snapshot)[0].step == 5
    del snapshot[name]
    wanted = "it has no terms$" if name.startswith("term") else f"{name} must be .* got nothing"
    with pytest.raises(SettingError, match=f"^resume is no snapshot of such a problem: {wanted}"):
        run(rosenbrock, STARTS, 1, history=4, resume=snapshot)


def test_refuses_a_snapshot_of_another_size():
    states = lbfgs(value_and_grad(rosenbrock), STARTS, history=4)
    snapshot = next(states).snapshot()
    with pytest.raises(SettingError, match=r"image must be \(2, 2\), got \(4, 2\)"):
        run(rosenbrock, STARTS[:2], 1, history=4, resume=snapshot)
    with pytest.raises(SettingError, match=r"pairs must be .*, got \(4, 2, 4, 2\)"):
        run(rosenbrock, STARTS, 1, history=5, resume=snapshot)


def test_no_snapshot_of_a_step_that_broke_off():
    calls = itertools.count()

    def breaking(x):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return rosenbrock(x)

    states = lbfgs(value_and_grad(breaking), STARTS)
    last = [next(states) for _ in range(3)][-1]
    try:
        next(states)
    except KeyboardInterrupt:  # whose traceback keeps what the generator had
        with pytest.raises(SettingError, match="step 2 must be taken before"):
            last.snapshot()


def test_an_image_in_a_batch_follows_the_path_it_follows_alone():
    together = run(rosenbrock, STARTS, 60)
    for i in range(len(STARTS)):
        alone = run(rosenbrock, STARTS[i : i + 1], 60)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a.image[i : i + 1], b.image, atol=1e-12, rtol=1e-9)
            assert a.accepted[i] == b.accepted[0]


def test_the_best_never_gets_worse_and_its_loss_is_its_own():
    states = run(rosenbrock, STARTS, 60)
    for before, after in itertools.pairwise(states):
        assert (after.best_loss <= before.best_loss).all()
    for state in states:
        torch.testing.assert_close(rosenbrock(state.best), state.best_loss)
        torch.testing.assert_close(rosenbrock(state.image), state.loss)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_survives_a_step_to_nan_or_a_jump_in_loss(poison):
    calls = itertools.count()

    def sometimes_poisoned(x):
        bad = next(calls) in (7, 8, 20)
        return rosenbrock(x) + torch.tensor([poison if bad else 0.0, 0.0])

    states = run(sometimes_poisoned, STARTS[:2], 120)
    assert not states[7].accepted[0] and states[7].accepted[1]
    torch.testing.assert_close(states[7].image[0], states[6].image[0])
    assert torch.isfinite(states[-1].image).all()
    torch.testing.assert_close(states[-1].best, torch.ones(2, 2).double(), atol=1e-4, rtol=0)


def test_poison_in_one_image_leaves_the_others_path_alone():
    calls = itertools.count()

    def poisoned(x):
        factor = torch.tensor([float("nan") if next(calls) == 5 else 1.0, 1.0]).double()
        return rosenbrock(x) * factor

    states, clean = run(poisoned, STARTS[:2], 30), run(rosenbrock, STARTS[1:2], 30)
    torch.testing.assert_close(states[-1].image[1:], clean[-1].image, atol=1e-12, rtol=1e-9)


def test_stays_at_a_minimum():
    states = run(lambda x: x.square().sum(1), torch.zeros(2, 3), 5)
    assert (states[-1].best == 0).all() and (states[-1].loss == 0).all()
    assert all((state.image == 0).all() and state.accepted.all() for state in states)


def test_any_scale_of_the_loss_takes_the_same_path():
    small = run(lambda x: 1e-8 * rosenbrock(x), STARTS, 30)[-1]
    large = run(lambda x: 1e8 * rosenbrock(x), STARTS, 30)[-1]
    torch.testing.assert_close(small.image, large.image, atol=1e-8, rtol=1e-6)


def test_states_are_not_changed_afterwards():
    states = lbfgs(value_and_grad(rosenbrock), STARTS)
    first, start = next(states), STARTS.clone()
    image, best = first.image.clone(), first.best.clone()
    for _ in range(5):
        next(states)
    assert torch.equal(first.image, image) and torch.equal(first.best, best)
    assert torch.equal(STARTS, start)


def test_refuses_a_start_without_a_finite_loss():
    with pytest.raises(SettingError, match="loss of image 1 is nan at the start"):
        next(lbfgs(value_and_grad(lambda x: x[:, 0].log()), torch.tensor([[1.0], [-1.0]])))


def test_refuses_a_start_without_a_finite_gradient():
    message = (
        "^the loss of image 1 is 0.0 at the start; it and its gradient must be finite: "
        "check the images and the weights of the terms$"
    )
    with pytest.raises(SettingError, match=message):
        next(lbfgs(value_and_grad(lambda x: x[:, 0].sqrt()), torch.tensor([[1.0], [0.0]])))


@pytest.mark.parametrize("options", [{"history": 0}, {"patience": 0}, {"first_step": 0.0}])
def test_refuses_settings_out_of_range(options):
    given = {"history": 2, "patience": 3, "first_step": 0.5} | options
    message = (
        "^history and patience must be at least 1 and first_step above 0, got "
        f"{given['history']}, {given['patience']} and {given['first_step']}$"
    )
    with pytest.raises(SettingError, match=message):
        next(lbfgs(value_and_grad(rosenbrock), STARTS, **given))


def scripted(losses):
    """Ever the same slope, with the losses named, so that steps are all that can be seen."""
    given = iter(losses)

    def evaluate(x):
        return {"loss": torch.full((len(x),), next(given)).double()}, torch.ones_like(x)

    return evaluate


def lengths(states):
    """Root mean square change of a pixel at each step that was kept, 0 for one that was not."""
    return [
        (b.image - a.image).square().mean().sqrt().item() for a, b in itertools.pairwise(states)
    ]


def follow(losses, **options):
    start = torch.zeros(1, 2, 3, dtype=torch.float64)
    return list(itertools.islice(lbfgs(scripted(losses), start, **options), len(losses)))


def test_a_step_kept_doubles_the_radius_and_one_taken_back_quarters_it():
    down, nan = iter(range(100, 0, -1)), float("nan")
    states = follow([nan if i in (4, 7, 8) else next(down) for i in range(11)], first_step=0.1)
    expected = [0.1, 0.2, 0.4, 0.0, 0.2, 0.4, 0.0, 0.0, 0.05, 0.1]  # 0.8, 0.8 and 0.2 taken back
    assert lengths(states) == pytest.approx(expected)
    assert [int(state.refused) for state in states] == [0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0]
    assert all(bool(state.accepted) == (int(state.refused) == 0) for state in states)


def test_where_there_is_no_curvature_steps_go_straight_down():
    for a, b in itertools.pairwise(follow([float(-i) for i in range(12)])):
        moved = b.image - a.image
        torch.testing.assert_close(moved, -moved.abs().amax().expand_as(moved))
    torch.testing.assert_close(b.image, torch.full_like(b.image, -0.02 * (2**11 - 1)))


def test_a_loss_may_rise_to_the_largest_of_the_last_few():
    kept = [10, 10, 4, 9, 3, 9.5, 9, 9.1, 8]
    states = follow([float(loss) for loss in kept], patience=3)
    assert [state.loss.item() for state in states] == [10, 10, 4, 9, 3, 3, 9, 9, 8]
    assert [bool(state.accepted) for state in states] == [True] * 5 + [False, True, False, True]
    assert [state.best_loss.item() for state in states] == [10, 10, 4, 4, 3, 3, 3, 3, 3]
    for state, source in zip(states, (0, 0, 2, 2, 4, 4, 4, 4, 4), strict=True):
        assert torch.equal(state.best, states[source].image)
    assert not follow([10.0, 10.5], patience=3)[1].accepted


def test_any_scale_of_the_image_takes_the_same_path():
    plain = run(rosenbrock, STARTS, 60)[-1]
    for scale in (1e-8, 1e8):
        scaled = run(
            lambda x, scale=scale: rosenbrock(x / scale),
            STARTS * scale,
            60,
            first_step=0.02 * scale,
        )[-1]
        torch.testing.assert_close(scaled.image / scale, plain.image, atol=1e-6, rtol=1e-6)


def test_one_image_goes_on_from_its_snapshot():
    whole = run(rosenbrock, STARTS[:1], 12)
    states = lbfgs(value_and_grad(rosenbrock), STARTS[:1])
    snapshot = [next(states) for _ in range(6)][-1].snapshot()
    again = run(rosenbrock, STARTS[:1], 7, resume=snapshot)
    assert torch.equal(again[-1].image, whole[-1].image)


def test_one_pair_of_history_and_no_patience_are_enough():
    states = run(rosenbrock, STARTS, 100, history=1, patience=1)
    for before, after in itertools.pairwise(states):
        assert (after.loss <= before.loss).all()
    assert (states[-1].loss < 0.1).all()


def test_unless_told_otherwise_20_pairs_are_kept_and_5_losses_looked_back_at():
    states = follow([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 9.5, 8.0])
    assert [bool(state.accepted) for state in states] == [True] * 6 + [False, True]
    running = lbfgs(value_and_grad(rosenbrock), STARTS)
    assert next(running).snapshot()["pairs"].shape[2] == 20


def test_states_say_of_each_image_whether_its_step_was_kept_and_how_many_were_not():
    for state in run(rosenbrock, STARTS, 3):
        assert state.accepted.dtype == torch.bool and state.accepted.shape == (4,)
        assert state.refused.dtype == torch.int64 and state.refused.shape == (4,)


@pytest.mark.parametrize(("bad", "emptied"), [((7,), False), ((7, 8), True)])
def test_a_second_step_taken_back_in_a_row_empties_that_images_history(bad, emptied):
    calls, slopes = itertools.count(), []

    def evaluate(x):
        terms, slope = value_and_grad(rosenbrock)(x)
        slopes.append(slope)
        poison = torch.nan if next(calls) in bad else 0.0
        return {"loss": terms["loss"] + torch.tensor([poison, 0.0])}, slope

    states = list(itertools.islice(lbfgs(evaluate, STARTS[:2]), 10))
    last = bad[-1] + 1  # the step after; the gradient is that of the state before the first bad one
    moved = states[last].image - states[last - 1].image
    before = torch.stack([slopes[bad[0] - 1][0], slopes[last - 1][1]])
    cosines = torch.cosine_similarity(moved, -before)
    assert (cosines[0] > 1 - 1e-9) == emptied
    assert cosines[1] < 1 - 1e-9


def test_a_step_on_which_the_gradient_stays_leaves_the_history_alone():
    slopes = []

    def evaluate(x):
        terms, slope = value_and_grad(rosenbrock)(x)
        slopes.append(slopes[-1] if len(slopes) == 6 else slope)
        return terms, slopes[-1]

    states = list(itertools.islice(lbfgs(evaluate, STARTS[:2]), 8))
    assert states[6].accepted.all()
    moved = states[7].image - states[6].image
    assert (torch.cosine_similarity(moved, -slopes[6]) < 1 - 1e-9).all()
