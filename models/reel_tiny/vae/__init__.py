"""The VAE of reel-tiny: model, training and export."""

from .model import CausalVae, VaeConfig

__all__ = ["CausalVae", "VaeConfig"]
