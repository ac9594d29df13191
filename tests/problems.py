"""Problems whose solutions are known, for tests of optimisers."""

import torch


def value_and_grad(function):
    """What an optimiser asks for, of a function from (N, D) to (N,)."""

    def evaluate(x):
        x = x.detach().requires_grad_()
        loss = function(x)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        return {"loss": loss.detach()}, gradient

    return evaluate


def rosenbrock(x):
    return (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2


STARTS = torch.tensor([[-1.2, 1.0], [3.0, -4.0], [0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
NAN = float("nan")
