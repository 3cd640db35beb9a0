"""Turns a training checkpoint into final weights: the moving average, its latents normalised over many clips.

    python -m reel_tiny.vae.freeze --checkpoint DIR/checkpoint.pt --pools 'pools/a*.npy' --out vae.pt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..weights import load_vae
from .train import Batches, latent_statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pools", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=800, help="crops to take the statistics from")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    vae = load_vae(a.checkpoint).requires_grad_(False).to(a.device)
    mean, std = latent_statistics(vae, Batches(a.pools, 2026), a.count)
    vae.set_latent_statistics(mean, std)
    torch.save({"config": vae.config.to_dict(), "ema": vae.cpu().state_dict()}, a.out)
    print(f"latents before normalisation: means {mean.min():.3f}..{mean.max():.3f}, deviations {std.min():.3f}..{std.max():.3f}")


if __name__ == "__main__":
    main()
