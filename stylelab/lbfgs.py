"""Batched L-BFGS: N independent problems in one tensor, as a generator of states.

Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5) in the form
used for style transfer since the paper: no line search, one evaluation of loss and gradient a step.
Two guards for each image replace the line search. No step is longer than a trust radius, which
grows to twice any accepted step. A step to a loss that is not finite, or larger than all of the
last few, is taken back and the radius shrinks; a second one in a row also empties that image's
history. All decisions are masks on the device: an image in a batch takes the steps that it takes
alone, and nothing waits for the host.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.errors import SettingError
from stylelab.room import Room, current

ValueAndGrad = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]
TERM = "term "  # begins the names of the terms' losses in a snapshot


@dataclass(frozen=True)
class State:
    """An optimisation after `step` steps, as any optimiser yields it. Its tensors never change.

    Attributes:
        step: number of steps done; 0 is the start, evaluated.
        z: the current iterates, `(N, ...)`: what the optimiser moves.
        terms, loss: their weighted losses by term, and the sum of these; `(N,)` each.
        best_z, best_loss: the iterates of lowest loss so far, and their losses.
        refused: how many steps in a row each image has just taken back, `(N,)`.
        snapshot: returns all that the optimiser resumes from, as tensors by name, uncopied: use it
            before the next step, which changes L-BFGS's. After that it raises SettingError.
        to_image: gives the image of iterates (`stylelab.parametrisation`); the identity for pixels.
    """

    step: int
    z: Tensor
    terms: dict[str, Tensor]
    loss: Tensor
    best_z: Tensor
    best_loss: Tensor
    refused: Tensor
    snapshot: Callable[[], dict[str, Tensor]] = field(repr=False)
    to_image: Callable[[Tensor], Tensor] = field(default=lambda z: z, repr=False)

    @property
    def image(self) -> Tensor:
        """The images of the current iterates, `(N, 3, H, W)`."""
        return self.to_image(self.z)

    @property
    def best(self) -> Tensor:
        """The images of lowest loss so far, `(N, 3, H, W)`."""
        return self.to_image(self.best_z)


def by_rows(value_and_grad: ValueAndGrad, shape: torch.Size) -> Callable[[Tensor], tuple]:
    """Of rows `(N, D)`: the losses by term, their sum `(N, 1)` and the gradient `(N, D)`."""

    def evaluate(flat: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        terms, gradient = value_and_grad(flat.view(shape))
        return terms, sum(terms.values())[:, None], gradient.reshape(len(flat), -1)

    return evaluate


def state_of(
    step: int,
    rows: SimpleNamespace,
    terms: dict[str, Tensor],
    shape: torch.Size,
    snapshot: Callable,
) -> State:
    """The State of an optimiser that keeps `x`, `loss`, `best`, ... as rows, one for each image."""
    images, bests = rows.x.view(shape), rows.best.view(shape)
    loss, best_loss, refused = rows.loss[:, 0], rows.best_loss[:, 0], rows.refused[:, 0]
    return State(step, images, terms, loss, bests, best_loss, refused, snapshot)


class _History:
    """The last m pairs (s, y) of N problems in one preallocated ring, and their inner products.

    Pairs are scaled to s.y = 1, which changes no formula; those that do not count are zero.
    """

    def __init__(self, length: int, like: Tensor, room: Room) -> None:
        self.pairs = room.like(like, len(like), 2, length, like.shape[1])  # s, y; oldest anywhere
        self.products = like.new_zeros(len(like), 2 * length, length)  # of s and y with the y
        self.scale = like.new_zeros(len(like), 1)  # initial inverse Hessian; 0: no pair yet
        self.length, self.count, self.room = length, 0, room
        self.in_step = False

    def push(self, s: Tensor, new: Tensor, old: Tensor, keep: Tensor) -> None:
        """Store s and y = new - old for the images `keep` `(N, 1)` whose curvature is positive."""
        ys = yy = ss = 0
        for at in self.room.blocks(s):
            y, part = new[:, at] - old[:, at], s[:, at]
            ys = ys + (y * part).sum(1, keepdim=True)
            yy = yy + (y * y).sum(1, keepdim=True)
            ss = ss + (part * part).sum(1, keepdim=True)
        keep = keep & (ys > 1e-10 * yy.sqrt() * ss.sqrt())
        root, slot = torch.where(keep, ys, 1.0).rsqrt(), self.count % self.length
        with_s = with_y = 0
        for at in self.room.blocks(s):
            part = torch.where(keep, s[:, at] * root, 0.0)  # 0 and not s: 0 times NaN would be NaN
            y = torch.where(keep, (new[:, at] - old[:, at]) * root, 0.0)
            self.pairs[:, 0, slot, at], self.pairs[:, 1, slot, at] = part, y
            with_s, with_y = with_s + self._products(at, part), with_y + self._products(at, y)
        self.products[:, :, slot] = with_y
        self.products[:, slot] = with_s[:, self.length :]
        self.products[:, self.length + slot] = with_y[:, self.length :]
        self.scale = torch.where(keep, ys / yy, self.scale)
        self.count += 1

    def clear(self, images: Tensor) -> None:
        """Empty the history of the images in the mask `(N, 1)`."""
        if images.device.type == "cpu" and not images.any():  # asking a GPU would wait for it
            return
        used = self.pairs[:, :, : min(self.count, self.length)]
        for at in self.room.blocks(self.pairs[:, 0, 0]):
            used[..., at].masked_fill_(images[..., None, None], 0.0)
        self.products.masked_fill_(images[..., None], 0.0)
        self.scale = self.scale.masked_fill(images, 0.0)

    def _products(self, at: slice, vector: Tensor) -> Tensor:
        """Inner products `(N, 2m)` of all s, then all y, with a vector, over a block of columns."""
        if self.pairs.shape[-1] <= self.room.block:
            return (self.pairs.flatten(1, 2) @ vector[..., None])[..., 0]
        used = self.pairs[:, :, : self.count + 1, at]  # zeros need no reading
        found = (used @ vector[:, None, :, None])[..., 0]
        return F.pad(found, (0, self.length - found.shape[2])).flatten(1)

    def _sum(self, weights: Tensor, at: slice) -> Tensor:
        """The sum of all pairs times their weights `(N, 1, 2m)`, at a block of columns."""
        if self.pairs.shape[-1] <= self.room.block:
            return (weights @ self.pairs.flatten(1, 2))[:, 0]
        used = self.pairs[:, :, : self.count + 1, at]
        weights = weights.unflatten(2, (2, self.length)).transpose(1, 2)[..., : used.shape[2]]
        return (weights @ used).sum(1)[:, 0]

    def inverse_hessian_times(self, gradient: Tensor) -> Tensor:
        """The estimate of the inverse Hessian times `gradient` `(N, D)`.

        The same as the two-loop recursion (algorithm 7.4), in the compact form of Byrd, Nocedal and
        Schnabel (1994, equation 3.13), which reads the history twice instead of five times.
        """
        m, oldest = self.length, self.count % self.length

        def ordered(values: Tensor, *axes: int) -> Tensor:
            return values.roll((-oldest,) * len(axes), axes)

        found = sum(self._products(at, gradient[:, at]) for at in self.room.blocks(gradient))
        with_gradient = ordered(found.unflatten(1, (2, m)), 2)
        sg, yg = with_gradient[:, 0, :, None], with_gradient[:, 1, :, None]
        sy, yy = ordered(self.products.unflatten(1, (2, m)), 2, 3).unbind(1)
        upper = sy.triu(1)
        upper.diagonal(dim1=1, dim2=2).fill_(1.0)
        scale = self.scale[..., None]
        p = torch.linalg.solve_triangular(upper, sg, upper=True)
        u = torch.linalg.solve_triangular(upper.mT, p + scale * (yy @ p - yg), upper=False)
        weights = torch.stack([u, -scale * p], 1)[..., 0].roll(oldest, 2).flatten(1)[:, None]
        found = self.room.like(gradient)
        for at in self.room.blocks(gradient):
            found[:, at] = self.scale * gradient[:, at] + self._sum(weights, at)
        return found

    def tensors(self) -> dict[str, Tensor]:
        return {"pairs": self.pairs, "products": self.products, "scale": self.scale}


def lbfgs(
    value_and_grad: ValueAndGrad,
    start: Tensor,
    *,
    history: int = 20,
    first_step: float = 0.02,
    patience: int = 5,
    resume: Mapping[str, Tensor] | None = None,
) -> Iterator[State]:
    """Minimise N independent problems; yields the start's State, then one for each step, forever.

    Args:
        value_and_grad: image `(N, ...)` to its losses by term, each `(N,)`, and the gradient.
        start: the starting images, `(N, ...)`.
        history: pairs (s, y) kept per image.
        first_step: the first trust radius, as the root mean square change of a pixel.
        patience: a loss above the largest of this many last ones takes the step back.
        resume: the snapshot of a state, which is yielded first; the states after it are those of
            the uninterrupted run, bit for bit. `start` then only gives the shape.

    Raises:
        SettingError: if an argument is out of range, loss or gradient at the start are not finite,
            or `resume` is not a snapshot of a problem of this shape.
    """
    if history < 1 or patience < 1 or not first_step > 0:
        raise SettingError("history and patience must be at least 1, and first_step above 0")

    evaluate, shape, room = by_rows(value_and_grad, start.shape), start.shape, current()
    x = room.made(torch.clone, start.detach().reshape(len(start), -1))
    del start  # large
    zero, pairs = x.new_zeros(len(x), 1), _History(history, x, room)
    # All that the next step depends on, beside the history; rows are images.
    s = SimpleNamespace(x=x, gradient=x, loss=zero, best=x, best_loss=zero, radius=zero)
    s.recent, s.refused = zero.repeat(1, patience), zero.to(torch.int64)
    if resume is None:
        terms, s.loss, s.gradient = evaluate(x)
        check_start(s.loss, s.gradient)
        s.gradient = room.aside(s.gradient)
        s.radius, s.best_loss = torch.full_like(zero, first_step * x.shape[1] ** 0.5), s.loss
        s.recent = s.loss.repeat(1, patience)
    else:
        check_snapshot(resume, vars(s) | pairs.tensors())
        vars(s).update({name: resume[name] for name in vars(s)})
        for name, tensor in pairs.tensors().items():
            tensor.copy_(resume[name])
        pairs.count = int(resume["step"])
        terms = {k.removeprefix(TERM): v for k, v in resume.items() if k.startswith(TERM)}
        resume = None  # large
    del x
    while True:
        pairs.in_step = False
        snapshot = partial(_snapshot, weakref.ref(pairs), pairs.count, dict(vars(s)), terms)
        yield state_of(pairs.count, s, terms, shape, snapshot)
        del snapshot
        pairs.in_step = True
        direction = room.made(torch.neg, pairs.inverse_hessian_times(s.gradient))
        slope = room.dot(direction, s.gradient)
        uphill = ~((slope < 0) & slope.isfinite())  # also without a history, where the slope is 0
        pairs.clear(uphill)
        direction = room.made(partial(_descent, uphill), direction, s.gradient)
        length = room.dot(direction, direction).sqrt()
        moved = torch.where(uphill, s.radius, torch.minimum(s.radius, length))
        share = torch.where(length > 0, moved / length, 0.0)  # 0: at a minimum
        direction = room.made(share.mul, direction)
        trial = room.made(torch.add, s.x, direction)
        new_terms, loss, gradient = evaluate(trial)
        gradient = room.aside(gradient)
        accepted = (loss <= s.recent.amax(1, keepdim=True)) & room.is_finite(gradient)
        pairs.push(direction, gradient, s.gradient, accepted)
        del direction
        s.refused = torch.where(accepted, 0, s.refused + 1)
        pairs.clear(s.refused > 1)
        s.radius = torch.where(accepted, torch.maximum(s.radius, 2 * moved), moved / 4)
        s.x = room.choice(accepted, trial, s.x)
        s.gradient = room.choice(accepted, gradient, s.gradient)
        del trial, gradient
        s.loss = torch.where(accepted, loss, s.loss)
        terms = {k: torch.where(accepted[:, 0], new, terms[k]) for k, new in new_terms.items()}
        s.recent = torch.cat([s.recent[:, 1:], s.loss], 1)
        better = s.loss < s.best_loss
        s.best = room.choice(better, s.x, s.best)
        s.best_loss = torch.where(better, s.loss, s.best_loss)


def _descent(uphill: Tensor, direction: Tensor, gradient: Tensor) -> Tensor:
    """Against the gradient where a direction leads uphill."""
    return torch.where(uphill, -gradient, direction)


def _snapshot(
    history: Callable[[], _History | None], step: int, parts: dict, terms: dict
) -> dict[str, Tensor]:
    """All that a step depends on. The history is held weakly, so that keeping a state is cheap."""
    pairs = history()
    if pairs is None or pairs.in_step or pairs.count != step:
        raise SettingError(f"the snapshot of step {step} must be taken before the next step begins")
    terms = {f"{TERM}{name}": loss for name, loss in terms.items()}
    return {"step": torch.tensor(step), **parts, **terms, **pairs.tensors()}


def check_start(loss: Tensor, gradient: Tensor) -> None:
    """SettingError if a loss `(N, 1)` or a gradient `(N, D)` is not finite; it names the image."""
    bad = ~(loss.isfinite() & current().is_finite(gradient))
    for image in bad.nonzero()[:1, 0].tolist():
        raise SettingError(
            f"the loss of image {image} is {float(loss[image, 0])} at the start; it and its "
            "gradient must be finite: check the images and the weights of the terms"
        )


def check_snapshot(resume: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """SettingError if `resume` has no terms, or not all tensors of `like`, in their shapes."""
    if not any(name.startswith(TERM) for name in resume):
        raise SettingError("resume is not a snapshot: it holds no terms")
    for name, tensor in {"step": torch.tensor(0), **like}.items():
        found = tuple(resume[name].shape) if name in resume else "nothing"
        if found != tensor.shape:
            wanted = f"{name} must be {tuple(tensor.shape)}, got {found}"
            raise SettingError(f"resume is not a snapshot of a problem of this shape: {wanted}")
