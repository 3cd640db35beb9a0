"""Muon: momentum whose update is replaced by the nearest semi-orthogonal matrix (Jordan et al., "Muon: An optimizer
for hidden layers in neural networks", 2024), for convolutions taken as [out, in*kh*kw] matrices.

The quintic Newton-Schulz iteration runs on the small Gram matrix instead of the wide update: every iterate is P @ G,
with P a polynomial in G @ G.T, so the wide matrix is met twice instead of ten times.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonalise(updates: Tensor) -> Tensor:
    """Matrices [..., m, n] with the singular vectors of the updates and singular values near 1."""
    rows, columns = updates.shape[-2:]
    wide = updates if rows <= columns else updates.mT
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    gram = wide @ wide.mT  # in float32: rounding that made an eigenvalue negative would be blown up
    identity = torch.eye(gram.shape[-1], device=gram.device)
    product = identity
    a, b, c = QUINTIC
    for step in range(STEPS):
        polynomial = a * identity + b * gram + c * (gram @ gram)
        product = polynomial @ product
        if step + 1 < STEPS:
            gram = polynomial @ gram @ polynomial
    result = (product.bfloat16() @ wide.bfloat16()).float()
    return result if rows <= columns else result.mT


class Muon(torch.optim.Optimizer):
    """`step` may share the work: this worker orthogonalises its part, and `exchange` sums a flat buffer over workers."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, worker: int = 0, workers: int = 1, exchange: Callable[[Tensor], None] | None = None) -> None:
        parameters = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        flat = torch.zeros(sum(p.numel() for _, p in parameters), device=parameters[0][1].device)
        places = flat.split([p.numel() for _, p in parameters])
        # Of one shape, many are done in one go, which on a GPU saves thousands of small kernels.
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for index, (group, p) in enumerate(parameters):
            state = self.state[p]
            if not state:
                state["velocity"] = torch.zeros_like(p)
            velocity = state["velocity"].lerp_(p.grad, 1 - group["momentum"])
            if index % workers == worker:
                update = p.grad.lerp(velocity, group["momentum"]).flatten(1)
                alike.setdefault(tuple(update.shape), []).append((update, places[index]))
        for shape, pairs in alike.items():
            # A root-mean-square step like Adam's, whatever the shape (Liu et al., arXiv 2502.16982).
            updates = orthogonalise(torch.stack([update for update, _ in pairs])) * (0.2 * max(shape) ** 0.5)
            for update, (_, place) in zip(updates, pairs, strict=True):
                place.copy_(update.flatten())
        if exchange is not None:
            exchange(flat)
        for (group, p), update in zip(parameters, places, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(update.view_as(p), alpha=-group["lr"])
