"""Where something is in time and space, as waves that a linear layer can read."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoid(position: Tensor, width: int, longest: float) -> Tensor:
    """[N] -> [N, width]: cosines then sines at wavelengths from 2 pi to 2 pi `longest`."""
    rates = torch.exp(torch.arange(width // 2, dtype=torch.float32, device=position.device) * (-math.log(longest) / (width // 2 - 1)))
    angle = position[:, None].float() * rates
    return torch.cat([angle.cos(), angle.sin()], 1)


def middles(count: int, like: Tensor) -> Tensor:
    """[count]: the middles of as many equal parts of 0 to 1, on the device of `like`."""
    return (torch.arange(count, device=like.device).float() + 0.5) / count


def places(index: Tensor, height: int, width: int) -> Tensor:
    """[B, t] indices of frames -> [B * t, 96, height, width]: where each position is in time and, as a share of the frame, in space."""
    when = sinusoid(index.reshape(-1), 32, 100.0)[:, :, None, None].expand(-1, -1, height, width)
    # A frame is 16 long here, so that the shortest wave spans some 0.4 of it.
    across = [sinusoid(16 * share, 32, 10.0) for share in (middles(height, index), middles(width, index))]
    down = across[0].T[None, :, :, None].expand(when.shape[0], -1, -1, width)
    along = across[1].T[None, :, None, :].expand(when.shape[0], -1, height, -1)
    return torch.cat([when, down, along], 1)
