"""The VAE of reel-tiny: model, training and export."""

from __future__ import annotations

from pathlib import Path

import torch

from .model import CausalVae, VaeConfig

__all__ = ["CausalVae", "VaeConfig", "load_vae"]


def load_vae(checkpoint: str | Path) -> CausalVae:
    """A VAE in eval mode with the averaged weights of a training checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    vae = CausalVae(VaeConfig.from_dict(saved["config"]))
    vae.load_state_dict(saved["ema"])
    return vae.eval().requires_grad_(False)
