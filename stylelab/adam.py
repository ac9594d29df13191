"""Batched Adam: N independent problems in one tensor, as a generator of the States of `lbfgs`.

Adam (Kingma and Ba, 2015, algorithm 1) keeps two tensors of the images' size, the running means of
the gradient and of its square, where L-BFGS keeps forty, and needs more steps to the same loss. A
step to a loss or a gradient that is not finite is taken back, and that image tries again with a
quarter of the rate; each step kept doubles it again, up to the rate asked for. All decisions are
masks on the device, as in L-BFGS: an image in a batch takes the steps that it takes alone.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.lbfgs import TERM, State, ValueAndGrad, by_rows, check_snapshot, check_start, state_of

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

    evaluate = by_rows(value_and_grad, start)
    x = start.detach().reshape(len(start), -1).clone()
    zero, zeros, step = x.new_zeros(len(x), 1), torch.zeros_like(x), 0
    # All that the next step depends on; rows are images. The means already have this x's gradient.
    s = SimpleNamespace(x=x, loss=zero, best=x, best_loss=zero, mean=zeros, square=zeros)
    s.least, s.rate, s.kept, s.refused = zero, zero, zero, zero.to(torch.int64)
    if resume is None:
        terms, s.loss, gradient = evaluate(x)
        check_start(s.loss, gradient)
        s.mean, s.square = (1 - means[0]) * gradient, (1 - means[1]) * gradient.square()
        s.least = least * gradient.square().mean(1, keepdim=True).sqrt()
        s.best_loss, s.rate, s.kept = s.loss, zero + learning_rate, zero + 1
        del gradient
    else:
        check_snapshot(resume, vars(s))
        vars(s).update({name: resume[name] for name in vars(s)})
        terms = {k.removeprefix(TERM): v for k, v in resume.items() if k.startswith(TERM)}
        step, resume = int(resume["step"]), None  # large
    while True:
        parts = {"step": torch.tensor(step), **vars(s)}
        parts |= {f"{TERM}{name}": loss for name, loss in terms.items()}
        yield state_of(step, s, terms, start, parts.copy)
        del parts
        step += 1
        # Each mean over what its weights sum to, as in algorithm 1, where it began with zeros.
        divisor = (s.square / (1 - means[1] ** s.kept)).sqrt_().add_(s.least)
        trial = (s.mean / (1 - means[0] ** s.kept)).div_(divisor).mul_(-s.rate).add_(s.x)
        trial = torch.where(divisor > 0, trial, s.x)  # 0: this number never had a gradient
        del divisor
        new_terms, loss, gradient = evaluate(trial)
        accepted = loss.isfinite() & gradient.isfinite().all(1, keepdim=True)
        gradient = torch.where(accepted, gradient, 0.0)  # 0 and not kept: 0 times NaN would be NaN
        first, second = (torch.where(accepted, zero + kept, 1.0) for kept in means)
        s.mean = torch.addcmul(s.mean * first, 1 - first, gradient)
        s.square = (s.square * second).addcmul_(gradient * (1 - second), gradient)
        del gradient
        s.kept = s.kept + accepted
        s.rate = torch.where(accepted, (2 * s.rate).clamp_max(learning_rate), s.rate / 4)
        s.refused = torch.where(accepted, 0, s.refused + 1)
        s.x, s.loss = torch.where(accepted, trial, s.x), torch.where(accepted, loss, s.loss)
        terms = {k: torch.where(accepted[:, 0], new, terms[k]) for k, new in new_terms.items()}
        better = accepted if average else s.loss < s.best_loss
        share = (1 - average) / (1 - average**s.kept)  # 1 without a mean: the iterate itself
        s.best = torch.where(better, torch.lerp(s.best, s.x, share), s.best)
        s.best_loss = torch.where(better, s.loss, s.best_loss)
