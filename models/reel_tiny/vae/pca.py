"""The linear part of the VAE in closed form: principal components of 4x8x8 blocks of pixels, whitened."""

from __future__ import annotations

import torch
from torch import Tensor

from .model import LATENT_CHANNELS, SPATIAL, TEMPORAL, CausalVae, fold_time, gather_patches


def blocks_of(pixels: Tensor) -> Tensor:
    """[B,3,T,H,W] as [N,768], in the channel order that the encoder's linear map sees."""
    blocks = gather_patches(gather_patches(fold_time(pixels, TEMPORAL), 4), 2)
    return blocks.permute(0, 2, 3, 1).reshape(-1, 3 * TEMPORAL * SPATIAL * SPATIAL)


@torch.no_grad()
def start_from_pca(vae: CausalVae, pixels: Tensor) -> float:
    """Sets both linear maps from sample clips; returns the share of the variance that 16 components keep."""
    blocks = blocks_of(pixels).double()
    mean = blocks.mean(0)
    covariance = (blocks - mean).T @ (blocks - mean) / len(blocks)
    values, vectors = torch.linalg.eigh(covariance)
    kept, directions = values[-LATENT_CHANNELS:].flip(0), vectors[:, -LATENT_CHANNELS:].flip(1)
    project = (directions / kept.sqrt()).T
    vae.encoder.linear.weight.copy_(project[:, :, None, None])
    vae.encoder.linear.bias.copy_(-project @ mean)
    # Encoder blocks are (192 fine channels, 2x2 fine positions); the decoder writes (3, 4, 8, 8) directly.
    order = torch.arange(len(mean)).reshape(3, TEMPORAL, 4, 4, 2, 2).permute(0, 1, 4, 2, 5, 3).reshape(-1)
    back = (directions * kept.sqrt())[order]
    vae.decoder.linear.weight.copy_(back[:, :, None, None])
    vae.decoder.linear.bias.copy_(mean[order])
    return float(kept.sum() / values.sum())
