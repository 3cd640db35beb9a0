"""Weights for toy models: none is zero, so that no part of a network is silent."""

from __future__ import annotations

import torch
from torch import nn


def randomise(module: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """Fills every parameter: scales around 1, biases around 0, and matrices so that what goes through keeps its size times `gain`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 0 and parameter.numel() > max(parameter.shape):
                parameter.copy_(noise * gain / parameter[0].numel() ** 0.5)
            else:
                is_scale = "norm" in name and name.endswith(("weight", "gamma"))
                parameter.copy_(is_scale + 0.1 * noise)
    return module.eval().requires_grad_(False)
