"""What helps the tracing of networks for any size."""

from __future__ import annotations

import torch
from torch import Tensor


def measured(clip: Tensor, temporal: int, spatial: int) -> Tensor:
    """The same clip [B,C,T,H,W], in a way that tells the tracing what its sizes are: multiples of `spatial`, and of `temporal` plus one.

    It would find out by itself, from all the divisions in the network, but not in reasonable time.
    """
    for axis in (3, 4):
        clip = clip.unflatten(axis, (clip.shape[axis] // spatial, spatial)).flatten(axis, axis + 1)
    if temporal == 1:
        return clip
    filled = torch.cat([clip[:, :, :1].expand(-1, -1, temporal - 1, -1, -1), clip], dim=2)
    groups = (clip.shape[2] + temporal - 1) // temporal
    return filled.unflatten(2, (groups, temporal)).flatten(2, 3)[:, :, temporal - 1 :]
