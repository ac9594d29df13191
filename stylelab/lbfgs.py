"""Batched L-BFGS: N independent problems in one tensor, as a generator of states.

Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5) in the form
used for style transfer since the paper: no line search, one evaluation of loss and gradient a step.
What a line search would guard against is guarded per image instead: no step is longer than a trust
radius, which grows to twice any step kept; a step to a loss that is not finite, or above all of the
last few, is taken back and the radius shrinks; a second one in a row also empties that image's
history. All decisions are made by masks on the device, image by image: an image in a batch follows
the path it follows alone, and nothing waits for the host.

A state's snapshot is all that the method knows: it goes on from there, bit for bit, another day.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylelab.errors import SettingError

ValueAndGrad = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True)
class State:
    """Where an optimisation stands after `step` steps; tensors are not changed afterwards.

    Attributes:
        step: number of steps done; 0 is the starting point, evaluated.
        image: the current iterates, `(N, 3, H, W)`.
        terms: their weighted losses by term, each `(N,)`.
        loss: the sum of the terms, `(N,)`.
        accepted: whether each image's last step was kept, `(N,)` bool.
        refused: how many steps in a row were not, `(N,)`.
        best: the iterates of lowest loss so far, `(N, 3, H, W)`.
        best_loss: their losses, `(N,)`.
    """

    step: int
    image: Tensor
    terms: dict[str, Tensor]
    loss: Tensor
    accepted: Tensor
    refused: Tensor
    best: Tensor
    best_loss: Tensor
    _rest: Mapping[str, Tensor] = field(repr=False)  # what else the next step depends on
    _history: Callable[[], "_History | None"] = field(repr=False)  # weak: it is large

    def snapshot(self) -> dict[str, Tensor]:
        """What `lbfgs` goes on from when given as `resume`. Nothing is copied.

        The history in it changes with the next step: use or copy a snapshot before that.

        Raises:
            SettingError: if the next state has been asked for already, or the generator closed.
        """
        history = self._history()
        if history is None or not history.at_rest or history.count != self.step:
            raise SettingError(
                f"the snapshot of step {self.step} must be taken before the next step begins"
            )
        return {
            "step": torch.tensor(self.step),
            **{name: getattr(self, name) for name in _OF_STATE},
            **self._rest,
            **{name: getattr(history, name) for name in _OF_HISTORY},
            **{f"{_TERM}{name}": value for name, value in self.terms.items()},
        }


_OF_STATE = ("image", "loss", "accepted", "refused", "best", "best_loss")
_OF_HISTORY = ("pairs", "products", "scale")
_TERM = "term "  # before the names of terms in a snapshot


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each image of `(N, D)` tensors, `(N, 1)`."""
    return (a * b).sum(1, keepdim=True)


class _History:
    """The last m pairs (s, y) of N problems in one preallocated ring, and their inner products.

    The pairs are scaled to s.y = 1, which leaves the method's formulas as they are. A pair that
    does not count for an image is zero there and so leaves its direction alone.
    """

    def __init__(self, length: int, like: Tensor) -> None:
        self.pairs = like.new_zeros(len(like), 2, length, like.shape[1])  # s, y; oldest anywhere
        self.products = like.new_zeros(len(like), 2 * length, length)  # of s and y with the y
        self.scale = like.new_zeros(len(like), 1)  # initial inverse Hessian; 0: no pair yet
        self.length, self.count = length, 0
        self.at_rest = True  # no step is under way

    def push(self, s: Tensor, y: Tensor, keep: Tensor) -> None:
        """Store a pair for the images `keep` `(N, 1)` whose curvature is positive."""
        ys, yy, slot = _dot(y, s), _dot(y, y), self.count % self.length
        keep = keep & (ys > 1e-10 * yy.sqrt() * _dot(s, s).sqrt())
        root = torch.where(keep, ys, 1.0).rsqrt()
        s = torch.where(keep, s * root, 0.0)  # 0 and not s: 0 times NaN would be NaN
        y = torch.where(keep, y * root, 0.0)
        self.pairs[:, 0, slot], self.pairs[:, 1, slot] = s, y
        with_s, with_y = self._times(s), self._times(y)
        self.products[:, :, slot] = with_y
        self.products[:, slot] = with_s[:, self.length :]
        self.products[:, self.length + slot] = with_y[:, self.length :]
        self.scale = torch.where(keep, ys / yy, self.scale)
        self.count += 1

    def forget(self, which: Tensor) -> None:
        """Empty the history of the images `which` `(N, 1)`."""
        self.pairs.masked_fill_(which[..., None, None], 0.0)
        self.products.masked_fill_(which[..., None], 0.0)
        self.scale = self.scale.masked_fill(which, 0.0)

    def _times(self, vector: Tensor) -> Tensor:
        """Inner products of all s, then all y, with `vector` `(N, D)`, `(N, 2m)`."""
        return (self.pairs.flatten(1, 2) @ vector[..., None])[..., 0]

    def times(self, gradient: Tensor) -> Tensor:
        """The inverse Hessian's estimate times `gradient` `(N, D)`.

        What the two-loop recursion gives (algorithm 7.4), in the compact form of Byrd, Nocedal and
        Schnabel (1994, equation 3.13): it reads the history twice, not five times, and
        waits for m small steps no more.
        """
        m, oldest = self.length, self.count % self.length

        def ordered(values: Tensor, *axes: int) -> Tensor:
            return values.roll((-oldest,) * len(axes), axes)

        with_gradient = ordered(self._times(gradient).unflatten(1, (2, m)), 2)
        sg, yg = with_gradient[:, 0, :, None], with_gradient[:, 1, :, None]
        sy, yy = ordered(self.products.unflatten(1, (2, m)), 2, 3).unbind(1)
        upper = sy.triu(1) + torch.eye(m).to(sy)
        scale = self.scale[..., None]
        p = torch.linalg.solve_triangular(upper, sg, upper=True)
        u = torch.linalg.solve_triangular(upper.mT, p + scale * (yy @ p - yg), upper=False)
        weights = torch.stack([u, -scale * p], 1)[..., 0].roll(oldest, 2)
        return (
            self.scale * gradient + (weights.flatten(1)[:, None] @ self.pairs.flatten(1, 2))[:, 0]
        )


def lbfgs(
    value_and_grad: ValueAndGrad,
    start: Tensor,
    *,
    history: int = 20,
    first_step: float = 0.02,
    patience: int = 5,
    resume: Mapping[str, Tensor] | None = None,
) -> Iterator[State]:
    """Minimise N independent problems; yields the start's State, then one for each step, for ever.

    Args:
        value_and_grad: image `(N, ...)` to its losses by term, each `(N,)`, and the gradient.
        start: the starting images, `(N, ...)`.
        history: pairs (s, y) kept per image.
        first_step: the first trust radius, as the root mean square change of a pixel.
        patience: a loss above the largest of this many last ones takes the step back.
        resume: a state's snapshot, with which to go on; that state comes first then. `start` is
            only looked at for its shape.

    Raises:
        SettingError: if an argument is out of range, loss or gradient at the start not finite, or
            `resume` no snapshot of such a problem.
    """
    if history < 1 or patience < 1 or not first_step > 0:
        raise SettingError(
            "history and patience must be at least 1 and first_step above 0, got "
            f"{history}, {patience} and {first_step}"
        )

    def evaluate(flat: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        terms, gradient = value_and_grad(flat.view_as(start))
        return terms, sum(terms.values())[:, None], gradient.reshape(len(flat), -1)

    x = start.detach().reshape(len(start), -1).clone()
    pairs = _History(history, x)
    if resume is None:
        terms, loss, gradient = evaluate(x)
        _check_start(loss, gradient)
        radius = torch.full_like(loss, first_step * x.shape[1] ** 0.5)
        recent = loss.repeat(1, patience)
        best, best_loss = x, loss
        accepted = torch.ones_like(loss, dtype=torch.bool)
        refused = torch.zeros_like(loss, dtype=torch.int64)
    else:
        _check_snapshot(resume, start, history, patience)
        terms = {k.removeprefix(_TERM): v for k, v in resume.items() if k.startswith(_TERM)}
        x, best = resume["image"].reshape(x.shape), resume["best"].reshape(x.shape)
        gradient, radius, recent = (resume[name] for name in ("gradient", "radius", "recent"))
        loss, best_loss, accepted, refused = (
            resume[name][:, None] for name in ("loss", "best_loss", "accepted", "refused")
        )
        for name in _OF_HISTORY:
            getattr(pairs, name).copy_(resume[name])
        pairs.count = int(resume["step"])
        resume = None  # large
    while True:
        rest = {"gradient": gradient, "radius": radius, "recent": recent}
        pairs.at_rest = True
        yield State(
            pairs.count,
            x.view_as(start),
            terms,
            loss[:, 0],
            accepted[:, 0],
            refused[:, 0],
            best.view_as(start),
            best_loss[:, 0],
            rest,
            weakref.ref(pairs),
        )
        pairs.at_rest = False
        direction = -pairs.times(gradient)
        slope = _dot(direction, gradient)
        uphill = ~((slope < 0) & slope.isfinite())  # also where there is no history: slope is 0
        pairs.forget(uphill)
        direction = torch.where(uphill, -gradient, direction)
        length = _dot(direction, direction).sqrt()
        moved = torch.where(uphill, radius, torch.minimum(radius, length))
        direction = direction * torch.where(length > 0, moved / length, 0.0)  # 0: at a minimum
        trial = x + direction
        new_terms, new_loss, new_gradient = evaluate(trial)
        accepted = (new_loss <= recent.amax(1, keepdim=True)) & torch.isfinite(new_gradient).all(
            1, keepdim=True
        )
        pairs.push(direction, new_gradient - gradient, accepted)
        refused = torch.where(accepted, 0, refused + 1)
        pairs.forget(refused > 1)
        radius = torch.where(accepted, torch.maximum(radius, 2 * moved), moved / 4)
        x = torch.where(accepted, trial, x)
        gradient = torch.where(accepted, new_gradient, gradient)
        loss = torch.where(accepted, new_loss, loss)
        keep = accepted[:, 0]
        terms = {name: torch.where(keep, new_terms[name], terms[name]) for name in terms}
        recent = torch.cat([recent[:, 1:], loss], 1)
        better = loss < best_loss
        best, best_loss = torch.where(better, x, best), torch.where(better, loss, best_loss)


def _check_start(loss: Tensor, gradient: Tensor) -> None:
    fine = loss.isfinite()[:, 0] & gradient.isfinite().all(1)
    if not fine.all():
        bad = int((~fine).nonzero()[0])
        raise SettingError(
            f"the loss of image {bad} is {float(loss[bad, 0])} at the start; it and its gradient "
            "must be finite: check the images and the weights of the terms"
        )


def _check_snapshot(
    resume: Mapping[str, Tensor], start: Tensor, history: int, patience: int
) -> None:
    count, size = len(start), start[0].numel()
    shapes = {
        "step": (),
        **dict.fromkeys(("image", "best"), tuple(start.shape)),
        **dict.fromkeys(("loss", "best_loss", "accepted", "refused"), (count,)),
        "gradient": (count, size),
        **dict.fromkeys(("radius", "scale"), (count, 1)),
        "recent": (count, patience),
        "pairs": (count, 2, history, size),
        "products": (count, 2 * history, history),
    }
    for name, shape in shapes.items():
        found = tuple(resume[name].shape) if name in resume else "nothing"
        if found != shape:
            raise SettingError(
                f"resume is no snapshot of such a problem: {name} must be {shape}, got {found}"
            )
    if not any(name.startswith(_TERM) for name in resume):
        raise SettingError("resume is no snapshot of such a problem: it has no terms")
