"""Batched Adam: N independent problems in one tensor, as a generator of the States of `lbfgs`.

Adam (Kingma and Ba, 2015, algorithm 1) keeps two tensors of the images' size, the running means of
the gradient and of its square, where L-BFGS keeps forty, and needs more steps to the same loss. A
step to a loss or a gradient that is not finite is taken back, and that image tries again with a
quarter of the rate; each step kept doubles it again, up to the rate asked for. All decisions are
masks on the device, as in L-BFGS: an image in a batch takes the steps that it takes alone.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.lbfgs import (
    TERM,
    State,
    ValueAndGrad,
    by_rows,
    check_snapshot,
    check_start,
    state_of,
)
from stylelab.room import current

RATE = 0.05
MEANS = (0.9, 0.99)  # the shares of the old means that a step keeps: of gradients, of squares
# The paper's epsilon, over the first gradient's root mean square. It is large: where it is tiny,
# numbers that hardly matter move as far as all others, and in frequencies these become gratings.
LEAST = 0.3


def adam(
    value_and_grad: ValueAndGrad,
    start: Tensor,
    *,
    learning_rate: float = RATE,
    means: tuple[float, float] = MEANS,
    least: float = LEAST,
    average: float = 0.0,
    resume: Mapping[str, Tensor] | None = None,
) -> Iterator[State]:
    """Minimise N independent problems; yields the start's State, then one for each step, forever.

    Args:
        value_and_grad: image `(N, ...)` to its losses by term, each `(N,)`, and the gradient.
        start: the starting images, `(N, ...)`.
        learning_rate: how far, at most about, each number of an image moves in one step. The unit
            of the losses does not matter.
        means: beta_1 and beta_2 of the paper.
        least: its epsilon, over the root mean square of the first gradient.
        average: 0, or what each iterate counts of the one after it in a mean of all, corrected for
            its beginning as Adam's other means are. That mean then stands in place of the iterate
            of lowest loss. Its own loss is not computed: `best_loss` is the last iterate's.
        resume: the snapshot of a state, which is yielded first; the states after it are those of
            the uninterrupted run, bit for bit. `start` then only gives the shape.

    Raises:
        SettingError: if an argument is out of range, loss or gradient at the start are not finite,
            or `resume` is not a snapshot of a problem of this shape.
    """
    if not learning_rate > 0 or not least > 0 or not all(0 <= kept < 1 for kept in means):
        raise SettingError("learning_rate and least must be above 0, and means from 0 to below 1")
    if not 0 <= average < 1:
        raise SettingError(f"average must be from 0 to below 1, got {average!r}")

    evaluate, shape, room = by_rows(value_and_grad, start.shape), start.shape, current()
    x = room.made(torch.clone, start.detach().reshape(len(start), -1))
    del start  # large
    zero, step = x.new_zeros(len(x), 1), 0
    # All that the next step depends on; rows are images. The means already have this x's gradient.
    s = SimpleNamespace(x=x, loss=zero, best=x, best_loss=zero, mean=x, square=x)
    s.least, s.rate, s.kept, s.refused = zero, zero, zero, zero.to(torch.int64)
    if resume is None:
        terms, s.loss, gradient = evaluate(x)
        check_start(s.loss, gradient)
        gradient = room.aside(gradient)
        s.mean = room.made(lambda g: (1 - means[0]) * g, gradient)
        s.square = room.made(lambda g: (1 - means[1]) * g.square(), gradient)
        s.least = least * (room.dot(gradient, gradient) / x.shape[1]).sqrt()
        s.best_loss, s.rate, s.kept = s.loss, zero + learning_rate, zero + 1
        del gradient
    else:
        check_snapshot(resume, vars(s))
        vars(s).update({name: resume[name] for name in vars(s)})
        terms = {k.removeprefix(TERM): v for k, v in resume.items() if k.startswith(TERM)}
        step, resume = int(resume["step"]), None  # large
    del x
    while True:
        parts = {"step": torch.tensor(step), **vars(s)}
        parts |= {f"{TERM}{name}": loss for name, loss in terms.items()}
        yield state_of(step, s, terms, shape, parts.copy)
        del parts
        step += 1
        # Each mean over what its weights sum to, as in algorithm 1, where it began with zeros.
        weights = [1 - kept**s.kept for kept in means]
        trial = room.made(partial(_moved, weights, s.least, s.rate), s.mean, s.square, s.x)
        new_terms, loss, gradient = evaluate(trial)
        gradient = room.aside(gradient)
        accepted = loss.isfinite() & room.is_finite(gradient)
        first, second = (torch.where(accepted, zero + kept, 1.0) for kept in means)
        s.mean = room.made(partial(_mean, accepted, first), s.mean, gradient)
        s.square = room.made(partial(_mean_square, accepted, second), s.square, gradient)
        del gradient
        s.kept = s.kept + accepted
        s.rate = torch.where(accepted, (2 * s.rate).clamp_max(learning_rate), s.rate / 4)
        s.refused = torch.where(accepted, 0, s.refused + 1)
        s.x, s.loss = room.choice(accepted, trial, s.x), torch.where(accepted, loss, s.loss)
        del trial
        terms = {k: torch.where(accepted[:, 0], new, terms[k]) for k, new in new_terms.items()}
        better, best = s.loss < s.best_loss, s.x
        if average:
            share = (1 - average) / (1 - average**s.kept)
            better, best = accepted, room.made(partial(torch.lerp, weight=share), s.best, s.x)
        s.best = room.choice(better, best, s.best)
        s.best_loss = torch.where(better, s.loss, s.best_loss)
        del best


def _moved(
    weights: list[Tensor], least: Tensor, rate: Tensor, mean: Tensor, square: Tensor, x: Tensor
) -> Tensor:
    """Where a step leads from `x`, with the means of the gradient and of its square."""
    divisor = (square / weights[1]).sqrt_().add_(least)
    trial = (mean / weights[0]).div_(divisor).mul_(-rate).add_(x)
    return torch.where(divisor > 0, trial, x)  # 0: this number never had a gradient


def _mean(accepted: Tensor, kept: Tensor, mean: Tensor, gradient: Tensor) -> Tensor:
    gradient = torch.where(accepted, gradient, 0.0)  # 0 and not kept: 0 times NaN would be NaN
    return torch.addcmul(mean * kept, 1 - kept, gradient)


def _mean_square(accepted: Tensor, kept: Tensor, mean: Tensor, gradient: Tensor) -> Tensor:
    gradient = torch.where(accepted, gradient, 0.0)
    return (mean * kept).addcmul_(gradient * (1 - kept), gradient)
