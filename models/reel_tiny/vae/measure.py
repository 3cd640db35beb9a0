"""Quick scores of a VAE in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.sources import read_video
from .model import TEMPORAL, CausalVae


def to_pixels(frames: list[np.ndarray]) -> Tensor:
    """[1,3,T,H,W] in [-1,1] of RGB frames."""
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def held_out_excerpts(paths: list[Path], frames: int = 17, short_side: int = 128) -> list[Tensor]:
    """17 frames from late in each clip, cropped to multiples of 8."""
    excerpts = []
    for path in paths:
        video = read_video(path, short_side)
        start = max(0, int(len(video) * 0.75) - frames // 2)
        start = min(start, len(video) - frames)
        picked = [f[: f.shape[0] // 8 * 8, : f.shape[1] // 8 * 8] for f in video[start : start + frames]]
        excerpts.append(to_pixels(picked))
    return excerpts


def psnr_per_frame(y: Tensor, x: Tensor) -> Tensor:
    """PSNR in dB of each frame of [1,3,T,H,W], rounded to 8 bits as a viewer would see it, at most 60."""
    y = ((y.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return -10 * torch.log10((y - x).pow(2).mean((0, 1, 3, 4)) / 4 + 1e-6)


@torch.no_grad()
def round_trip_psnr(vae: CausalVae, pixels: Tensor) -> float:
    frames = pixels.shape[2] - (pixels.shape[2] - 1) % TEMPORAL
    x = pixels[:, :, :frames]
    return float(psnr_per_frame(vae.decode(vae.encode(x)), x).mean())
