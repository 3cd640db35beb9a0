"""Trains the VAE on pools of rendered clips; resumes from its checkpoint.

    python -m reel_tiny.vae.train --pools 'pools/a*.npy' --late-pools 'pools/b*.npy' --out DIR --minutes 55
"""

from __future__ import annotations

import argparse
import glob
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .measure import held_out_excerpts, round_trip_psnr
from .model import CausalVae
from .muon import Muon
from .pca import start_from_pca


class Batches:
    """Random crops of pooled clips [B,3,T,S,S] in [-1,1], mirrored, reversed, recoloured; some start a stream."""

    def __init__(self, pattern: str, seed: int):
        self.pools = [np.load(p, mmap_mode="r") for p in sorted(glob.glob(pattern))]
        if not self.pools:
            raise ValueError(f"Expected pools at {pattern}, got none. Run reel_tiny.data.pool first.")
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int, frames: int, size: int) -> Tensor:
        return torch.stack([self.one(frames, size) for _ in range(count)])

    def one(self, frames: int, size: int) -> Tensor:
        rng = self.rng
        pool = self.pools[rng.integers(len(self.pools))]
        _, long, wide, _, _ = pool.shape
        t, y, x = rng.integers(0, long - frames + 1), *rng.integers(0, wide - size + 1, 2)
        clip = pool[rng.integers(len(pool)), t : t + frames, y : y + size, x : x + size]
        if rng.random() < 0.5:
            clip = clip[:, :, ::-1]
        if rng.random() < 0.2:
            clip = clip[::-1]
        if rng.random() < 0.3:  # the first chunk of a stream: its first frame three more times
            clip = np.concatenate([clip[:1].repeat(3, 0), clip[: frames - 3]])
        if rng.random() < 0.25:
            clip = clip[..., rng.permutation(3)]
        pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(3, 0, 1, 2).float() / 127.5 - 1
        if rng.random() < 0.3:
            pixels = (pixels * float(rng.uniform(0.5, 1.2)) + float(rng.uniform(-0.25, 0.25))).clamp(-1, 1)
        return pixels


def reconstruction_loss(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the mean PSNR in dB of [-1,1] clips."""
    d = y - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    flicker = (d[:, :, 1:] - d[:, :, :-1]).abs().mean()
    squares = d.pow(2).mean((1, 2, 3, 4))
    # Mean PSNR is a mean of logarithms: easy clips count as much as hard ones. The floor is 40 dB.
    decibels = torch.log(squares + 4e-4).mean()
    loss = d.abs().mean() + 0.5 * edges + 0.25 * flicker + squares.mean() + 0.02 * decibels
    return loss, (-10 * torch.log10(squares.detach() / 4 + 1e-7)).mean()


def split_parameters(vae: CausalVae) -> tuple[list, list]:
    """Hidden convolutions for Muon; the first and last maps, norms and biases for AdamW."""
    outer = ("linear", "head", "paint", "encoder.stem", "decoder.stem")
    hidden, rest = [], []
    for name, p in vae.named_parameters():
        (hidden if p.ndim == 4 and not any(o in name for o in outer) else rest).append(p)
    return hidden, rest


def forward(vae: CausalVae, x: Tensor, grain: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, latent mean and log-variance, with posterior noise and up to `grain` more."""
    batch, height, width = x.shape[0], *x.shape[3:]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean, log_variance, _ = vae.encoder.posterior(x, vae.encoder.empty_states(batch, height, width, x))
        mean, log_variance = mean.float(), log_variance.float().clamp(-12, 2)
        extra = torch.rand(batch).mul(grain).repeat(mean.shape[0] // batch)[:, None, None, None]
        sigma = torch.sqrt(log_variance.exp() + extra.pow(2))
        z = mean + torch.randn_like(mean) * sigma
        pixels, _ = vae.decoder.paint_frames(z, batch, vae.decoder.empty_states(batch, height, width, x))
    return pixels.float(), mean, log_variance


@torch.no_grad()
def latent_statistics(vae: CausalVae, batches: Batches, count: int = 96) -> tuple[Tensor, Tensor]:
    latents = []
    for _ in range(count // 8):
        x = batches.draw(8, 12, 64)
        latents.append(vae.encoder.posterior(x, vae.encoder.empty_states(8, 64, 64, x))[0])
    z = torch.cat(latents)
    return z.mean((0, 2, 3)), z.std((0, 2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", required=True)
    parser.add_argument("--late-pools", help="larger clips, used after --late of the time")
    parser.add_argument("--late", type=float, default=0.7)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW")
    parser.add_argument("--muon", type=float, default=0.0, help="learning rate of Muon; 0 leaves all to AdamW")
    parser.add_argument("--grain", type=float, nargs=2, default=(0.0, 0.12), help="extra latent noise, start and end")
    parser.add_argument("--held", type=Path, nargs="*", default=[], help="clips to measure on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=120, help="seconds between checkpoints")
    a = parser.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    checkpoint = a.out / "checkpoint.pt"
    early = Batches(a.pools, a.seed)
    late = Batches(a.late_pools, a.seed + 1) if a.late_pools and glob.glob(a.late_pools) else None
    held = held_out_excerpts(a.held)
    vae = CausalVae()
    print(f"principal components keep {start_from_pca(vae, early.draw(256, 12, 64)):.4f} of the variance", flush=True)
    average = {k: v.clone() for k, v in vae.state_dict().items()}
    hidden, rest = split_parameters(vae) if a.muon > 0 else ([], list(vae.parameters()))
    adam = torch.optim.AdamW(rest, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.01)
    muon = Muon(hidden, lr=a.muon, weight_decay=0.01) if hidden else None
    step, seen, spent, running = 0, 0, 0.0, [0.0, 0.0]
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(saved["model"])
        average, step, seen, spent = saved["ema"], saved["step"], saved["seen"], saved["spent"]
        adam.load_state_dict(saved["adam"])
        if muon:
            muon.load_state_dict(saved["muon"])

    def save() -> None:
        shadow = CausalVae(vae.config)
        shadow.load_state_dict(average)
        shadow.eval().requires_grad_(False)
        mean, std = latent_statistics(shadow, Batches(a.pools, 12345))
        shadow.set_latent_statistics(mean, std)
        ema = shadow.state_dict()
        saved = {"config": vae.config.to_dict(), "model": vae.state_dict(), "ema": ema, "adam": adam.state_dict()}
        saved |= {"muon": muon.state_dict() if muon else None, "step": step, "seen": seen, "spent": spent}
        torch.save(saved, checkpoint.with_suffix(".partial"))
        checkpoint.with_suffix(".partial").rename(checkpoint)
        scores = [round_trip_psnr(shadow, x) for x in held]
        text = " ".join(f"{s:.2f}" for s in scores)
        print(f"{spent:.0f}s step {step} crops {seen} held [{text}] mean {np.mean(scores or [0]):.2f} std {std.min():.2f}..{std.max():.2f}", flush=True)

    began, next_save = time.time() - spent, spent + a.every
    while (spent := time.time() - began) < a.minutes * 60:
        done = spent / (a.minutes * 60)
        if a.late_pools and late is None and step % 50 == 0 and glob.glob(a.late_pools):
            late = Batches(a.late_pools, a.seed + 1)
        rate = min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        adam.param_groups[0]["lr"] = a.lr * rate
        if muon:
            muon.param_groups[0]["lr"] = a.muon * rate
        if late and done > a.late and step % 2 == 0:
            count, frames, size = max(2, a.batch // 4), (20 if step % 4 == 0 else 12), 96
            x = late.draw(count, frames, size)
        else:
            x = early.draw(a.batch, 12, 64)
        y, mean, log_variance = forward(vae, x, a.grain[0] + (a.grain[1] - a.grain[0]) * min(1.0, done / 0.8))
        loss, decibels = reconstruction_loss(y, x)
        kl = (mean.pow(2) + log_variance.exp() - 1 - log_variance).mul(0.5).mean()
        adam.zero_grad()
        if muon:
            muon.zero_grad()
        (loss + 1e-4 * kl).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 0.5)
        adam.step()
        if muon:
            muon.step()
        step, seen = step + 1, seen + len(x)
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for k, p in vae.state_dict().items():
                average[k].lerp_(p, 1 - keep)
        running = [r * 0.98 + v * 0.02 for r, v in zip(running, (loss.item(), decibels.item()))]
        if step % 50 == 0:
            fix = 1 - 0.98**step
            print(f"{spent:.0f}s step {step} loss {running[0] / fix:.4f} train {running[1] / fix:.2f} dB kl {kl.item():.2f}", flush=True)
        if spent > next_save:
            save()
            next_save = time.time() - began + a.every
    save()


if __name__ == "__main__":
    main()
