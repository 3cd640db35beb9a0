"""Samples clips in PyTorch, to look at a model before it is exported. The runtime has its own loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..text.encoder import TextEncoder
from ..vae import CausalVae, load_vae
from .export import load_denoiser
from .network import Denoiser
from .train import load_encoder


@dataclass
class Models:
    denoiser: Denoiser
    encoder: TextEncoder
    tokenizer: Tokenizer
    vae: CausalVae

    def embed(self, texts: list[str]) -> Tensor:
        encoded = self.tokenizer.encode_batch(texts)
        return self.encoder(torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded]))


def load_models(denoiser: str, text: str, tokenizer: str, vae: str) -> Models:
    words = Tokenizer.from_file(tokenizer)
    return Models(load_denoiser(denoiser), load_encoder(text, words), words, load_vae(vae))


def shifted_sigmas(steps: int, shift: float, strength: float = 1.0) -> list[float]:
    """`steps` noise levels from near `strength` down, then 0."""
    plain = np.linspace(1.0, 1.0 / steps, steps)
    sigmas = shift * plain / (1 + (shift - 1) * plain)
    return [*(s for s in sigmas if s <= strength), 0.0]


@torch.no_grad()
def sample(
    models: Models,
    prompts: list[str],
    seeds: list[int],
    frames: int = 7,
    steps: int = 20,
    shift: float = 3.0,
    guidance: float = 4.0,
    condition: Tensor | None = None,
    mask: Tensor | None = None,
    size: tuple[int, int] = (16, 16),
) -> Tensor:
    """Latents [B, 16, t, h, w] by Euler steps. `condition`, `mask` as the denoiser takes them."""
    shape = (16, frames, *size)
    x = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    condition = torch.zeros_like(x) if condition is None else condition
    mask = torch.zeros(len(x), 2, *shape[1:]) if mask is None else mask
    text, nothing = models.embed(prompts), models.embed([""] * len(prompts))
    noise = x.clone()
    sigmas = shifted_sigmas(steps, shift)
    for sigma, after in zip(sigmas, sigmas[1:], strict=False):
        keep = mask[:, :1]
        x = x * (1 - keep) + keep * ((1 - sigma) * condition + sigma * noise)
        both = [torch.cat([one, one]) for one in (x, condition, mask)]
        timestep = torch.full((2 * len(x),), 1000 * sigma)
        with torch.autocast("cpu", torch.bfloat16):
            told, untold = models.denoiser(both[0], timestep, torch.cat([text, nothing]), both[1], both[2]).chunk(2)
        x = x + (after - sigma) * (untold + guidance * (told - untold))
    return x * (1 - mask[:, :1]) + mask[:, :1] * condition


@torch.no_grad()
def to_frames(models: Models, latents: Tensor) -> np.ndarray:
    """uint8 [B, T, H, W, 3]"""
    pixels = ((models.vae.decode(latents) + 1) * 127.5).clamp(0, 255).round().byte()
    return pixels.permute(0, 2, 3, 4, 1).numpy()


@torch.no_grad()
def to_latents(models: Models, clip: np.ndarray) -> Tensor:
    """uint8 [T, H, W, 3] -> [1, 16, t, h, w]"""
    return models.vae.encode(torch.from_numpy(clip.copy()).permute(3, 0, 1, 2)[None].float() / 127.5 - 1)


def strip(clip: np.ndarray, count: int) -> np.ndarray:
    """`count` frames, evenly over the clip, side by side."""
    picked = np.linspace(0, len(clip) - 1, count).round().astype(int)
    return np.concatenate([clip[i] for i in picked], 1)


