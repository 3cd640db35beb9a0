"""Muon: momentum whose update is replaced by the nearest semi-orthogonal matrix (Jordan et al., "Muon: An optimizer
for hidden layers in neural networks", 2024), for convolutions taken as [out, in*kh*kw] matrices.

The quintic Newton-Schulz iteration runs on the small Gram matrix instead of the wide update: every iterate is P @ G,
with P a polynomial in G @ G.T, so the wide matrix is met twice instead of ten times.
"""

from __future__ import annotations

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonalise(update: Tensor) -> Tensor:
    """The matrix with the update's singular vectors and singular values near 1."""
    wide = update if update.shape[0] <= update.shape[1] else update.T
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    identity = torch.eye(len(gram))
    product = identity
    a, b, c = QUINTIC
    for step in range(STEPS):
        polynomial = a * identity + b * gram + c * (gram @ gram)
        product = polynomial @ product
        if step + 1 < STEPS:
            gram = polynomial @ gram @ polynomial
    result = product @ wide
    return result if update.shape[0] <= update.shape[1] else result.T


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["velocity"] = torch.zeros_like(p)
                velocity = state["velocity"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalise(p.grad.lerp(velocity, group["momentum"]).flatten(1))
                # A root-mean-square step like Adam's, whatever the shape (Liu et al., arXiv 2502.16982).
                size = 0.2 * max(update.shape) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.reshape(p.shape), alpha=-group["lr"] * size)
