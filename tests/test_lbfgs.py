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
        for state in lbfgs(value_and_grad(rosenbrock), STARTS, history=4):
            if state.step == step:
                snapshot = state.snapshot()
                break
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


@pytest.mark.parametrize("name", ["step", "image", "gradient", "pairs", "recent", "term loss"])
def test_refuses_the_snapshot_of_another_problem(name):
    for state in lbfgs(value_and_grad(rosenbrock), STARTS, history=4):
        if state.step == 5:
            snapshot = dict(state.snapshot())
            break
    assert run(rosenbrock, STARTS, 1, history=4, resume=snapshot)[0].step == 5
    del snapshot[name]
    wanted = "it has no terms" if name.startswith("term") else f"{name} must be .* got nothing"
    with pytest.raises(SettingError, match=f"resume is no snapshot of such a problem: {wanted}"):
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
    last = run(lambda x: x.square().sum(1), torch.zeros(2, 3), 5)[-1]
    assert (last.best == 0).all() and (last.loss == 0).all()


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


@pytest.mark.parametrize("options", [{"history": 0}, {"patience": 0}, {"first_step": 0.0}])
def test_refuses_settings_out_of_range(options):
    with pytest.raises(SettingError, match="at least 1"):
        next(lbfgs(value_and_grad(rosenbrock), STARTS, **options))
