"""Turns checkpoints of a run into final weights: the mean of their moving averages, latents normalised over many clips.

    python -m reel_tiny.vae.freeze --checkpoint DIR/checkpoint.pt --pools 'pools/a*.npy' --out vae.pt
    python -m reel_tiny.vae.freeze --checkpoint reel-tiny DIR/checkpoint.pt --out vae.pt

A bundle stands for its VAE. Several checkpoints are those of one run at different times, or runs that began at the same weights: the
mean of such is often better than each (Wortsman et al. 2022, arXiv:2203.05482). Without --pools the latents stay as the first one has them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..weights import load_vae, mean_of
from .train import Batches, latent_statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, nargs="+")
    parser.add_argument("--pools", help="clips as people have them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000, help="clips to take the statistics from")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    vae = mean_of([load_vae(path) for path in a.checkpoint]).requires_grad_(False).to(a.device)
    if a.pools is not None:
        mean, std = latent_statistics(vae, Batches(a.pools, 2026, a.device), a.count)
        vae.set_latent_statistics(mean, std)
        print(f"latents before normalisation: means {mean.min():.3f}..{mean.max():.3f}, deviations {std.min():.3f}..{std.max():.3f}")
    torch.save({"config": vae.config.to_dict(), "ema": vae.cpu().state_dict()}, a.out)


if __name__ == "__main__":
    main()
