"""Trains the VAE on pools of rendered clips; resumes from its checkpoint.

On CPUs one single-threaded worker a core, gradients averaged once a step: on a machine whose cores are shared with other work
that is twice as fast as two threads that wait for each other in every convolution.

    python -m reel_tiny.vae.train --pools 'pools/a*.npy' --late-pools 'pools/b*.npy' --out DIR --minutes 55
    python -m reel_tiny.vae.train --from reel-tiny --late 0 --decibels 0.06 0.12 ...

With --from, a run begins at the weights of a bundle or a checkpoint, of which it makes a VAE of today's size, and not at principal components. On a GPU (--device cuda
--workers 1) the pools lie in its memory.
"""

from __future__ import annotations

import argparse
import copy
import glob
import itertools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ..precision import autocast, training_device
from ..weights import grow_vae
from .measure import held_out_excerpts, round_trip_psnr
from .model import CausalVae, Encoder
from .muon import Muon
from .pca import start_from_pca


# The squared error below which its logarithm rewards nothing more: 40 dB.
FLOOR = 4e-4
# How far the logarithm of a frame's squared error may lie above its clip's median without counting on its own (5 dB), from where on it is
# given up (19 dB), and how much it counts.
SAG = 0.5 * math.log(10)
HOPELESS = 1.9 * math.log(10)
SAGGING = 6.0


class Batches:
    """Random crops of pooled clips, mirrored, reversed, recoloured; some start a stream.

    Pools lie on the device. What is rendered into their files meanwhile is found there by `renew`.
    """

    def __init__(self, pattern: str, seed: int, device: torch.device | str = "cpu"):
        self.files = [torch.from_numpy(np.load(path, mmap_mode="r+")) for path in sorted(glob.glob(pattern))]
        if not self.files:
            raise ValueError(f"Expected pools at {pattern}, got none. Run reel_tiny.data.pool first.")
        self.pools = [clips.to(device) for clips in self.files]
        self.rng, self.device = np.random.default_rng(seed), device

    def renew(self, count: int) -> None:
        """Reads so many random clips from the files once more."""
        for file, pool in zip(self.files, self.pools, strict=True):
            for row in self.rng.integers(len(pool), size=count):
                pool[row] = file[row]

    def whole(self, count: int) -> Tensor:
        """Clips uint8 [count, 4k+1, S, S, 3] of one pool as they were rendered."""
        pool = self.pools[self.rng.integers(len(self.pools))]
        rows = torch.from_numpy(self.rng.integers(len(pool), size=count)).to(self.device)
        return pool[rows, : (pool.shape[1] - 1) // 4 * 4 + 1]

    def draw(self, count: int, frames: int, size: int) -> Tensor:
        """Pixels [count, 3, frames, size, size] in [-1,1], of one pool."""
        rng = self.rng
        pool = self.pools[rng.integers(len(self.pools))]
        clips, long, side = pool.shape[:3]

        def sometimes(share: float, changed: np.ndarray, usual: np.ndarray) -> np.ndarray:
            return np.where(rng.random((count, 1)) < share, changed, usual)

        t, across = np.arange(frames), np.arange(size)
        t = sometimes(0.3, np.maximum(t - 3, 0), t)  # the first chunk of a stream: its first frame three more times
        t = sometimes(0.2, frames - 1 - t, t) + rng.integers(long - frames + 1, size=(count, 1))
        x = sometimes(0.5, across[::-1], across) + rng.integers(side - size + 1, size=(count, 1))
        y = across + rng.integers(side - size + 1, size=(count, 1))
        colours = sometimes(0.25, rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1), np.arange(3))
        shades = sometimes(0.3, rng.uniform((0.5, -0.25), (1.2, 0.25), (count, 2)), np.array([1.0, 0.0]))
        rows = rng.integers(clips, size=(count, 1))
        # Waiting for the device here would leave it idle while the next step is prepared.
        rows, t, y, x, colours, shades = (torch.from_numpy(drawn).to(self.device, non_blocking=True) for drawn in (rows, t, y, x, colours, shades))
        taken = pool[rows[:, :, None, None], t[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]
        taken = taken.gather(-1, colours[:, None, None, None].expand(taken.shape)).permute(0, 4, 1, 2, 3)
        gain, lift = shades.float()[:, :, None, None, None, None].unbind(1)
        return ((taken.float() / 127.5 - 1) * gain + lift).clamp(-1, 1)


def crops(batches: Batches, batch: int) -> Iterator[Tensor]:
    """Crops without end, 16 pixels smaller than the pool's clips: 12 frames and, where clips are as long, 20 in turn. `batch` is meant for 12 frames of 64."""
    _, long, side = batches.pools[0].shape[:3]
    for frames in itertools.cycle((20, 12) if long >= 20 else (12,)):
        size = side - 16
        yield batches.draw(max(1, round(batch * 12 * 64**2 / (frames * size**2))), frames, size)


def reconstruction_loss(y: Tensor, x: Tensor, decibel_weight: float, steady: float) -> tuple[Tensor, Tensor]:
    """The loss, and the mean PSNR in dB of [-1,1] clips."""
    d = y - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    flicker = (d[:, :, 1:] - d[:, :, :-1]).abs().mean((1, 2, 3, 4))
    frames = d.pow(2).mean((1, 3, 4))
    squares = frames.mean(1)
    # Mean PSNR is a mean of logarithms: easy clips count as much as hard ones.
    decibels = torch.log(squares + FLOOR).mean()
    # Flicker likewise: what a still clip shows of it is little, and seen at once. The floor is a quarter of a grey level.
    steps = 0.25 * flicker.mean() + steady * torch.log(flicker + 2e-3).mean()
    # A frame much worse than the rest of its clip (beside a cut or a flash) counts on its own, unless it is hopeless (noise).
    logs = torch.log(frames + FLOOR)
    sag = (logs - logs.detach().median(1, keepdim=True).values - SAG).clamp(0, HOPELESS - SAG).mean()
    loss = d.abs().mean() + 0.5 * edges + steps + squares.mean() + decibel_weight * decibels + SAGGING * sag
    return loss, (-10 * torch.log10(squares.detach() / 4 + 1e-7)).mean()


def split_parameters(vae: CausalVae) -> tuple[list, list]:
    """Hidden convolutions for Muon; the first and last maps, norms and biases for AdamW."""
    outer = ("linear", "head", "paint", "encoder.stem", "decoder.stem")
    hidden, rest = [], []
    for name, p in vae.named_parameters():
        if not p.requires_grad:
            continue
        (hidden if p.ndim == 4 and not any(o in name for o in outer) else rest).append(p)
    return hidden, rest


def forward(vae: CausalVae, x: Tensor, grain: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, latent mean and log-variance, with posterior noise and up to `grain` more."""
    batch, height, width = x.shape[0], *x.shape[3:]
    with autocast(x.device):
        mean, log_variance, _ = vae.encoder.posterior(x, vae.encoder.empty_states(batch, height, width, x))
        mean, log_variance = mean.float(), log_variance.float().clamp(-12, 2)
        extra = torch.rand(batch, device=x.device).mul(grain).repeat(mean.shape[0] // batch)[:, None, None, None]
        sigma = torch.sqrt(log_variance.exp() + extra.pow(2))
        z = mean + torch.randn_like(mean) * sigma
        pixels, _ = vae.decoder.paint_frames(z, batch, vae.decoder.empty_states(batch, height, width, x))
    return pixels.float(), mean, log_variance


def latent_change(known: Encoder, x: Tensor, mean: Tensor) -> Tensor:
    """The mean squared change of the latents [t*B,16,h,w] of pixels x against those of the encoder `known`, in its latents' own deviations."""
    with torch.no_grad(), autocast(x.device):
        before, _, _ = known.posterior(x, known.empty_states(x.shape[0], *x.shape[3:], x))
    return ((mean - before.float()) / known.latent_std[:, None, None]).pow(2).mean()


@torch.no_grad()
def latent_statistics(vae: CausalVae, batches: Batches, count: int = 96) -> tuple[Tensor, Tensor]:
    """Mean and deviation [16] of the latents before they are normalised, over clips as people have them: whole, in their own colours."""
    mean, std = vae.encoder.latent_mean, vae.encoder.latent_std
    latents = []
    for _ in range(count // 8):
        z = vae.encode(batches.whole(8).permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
        latents.append(z.transpose(0, 1).flatten(1))
    z = torch.cat(latents, 1)
    return z.mean(1) * std + mean, z.std(1) * std


def average(gradients: list[Tensor], values: Tensor, workers: int) -> Tensor:
    """Averages the gradients over the workers, in place, and returns the averages of the values."""
    if workers == 1:
        return values
    flat = torch.cat([g.flatten() for g in gradients] + [values])
    dist.all_reduce(flat)
    flat /= workers
    *parts, averages = flat.split([g.numel() for g in gradients] + [len(values)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return averages


def sum_over_workers(flat: Tensor) -> None:
    dist.all_reduce(flat)


class Run:
    """What a checkpoint holds: weights, their moving average, optimisers and progress."""

    def __init__(self, vae: CausalVae, lr: float, muon_lr: float):
        self.vae = vae
        self.trained = [p for p in vae.parameters() if p.requires_grad]
        hidden, rest = split_parameters(vae) if muon_lr > 0 else ([], self.trained)
        self.adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
        self.muon = Muon(hidden, lr=muon_lr, weight_decay=0.01) if hidden else None
        self.lr, self.muon_lr = lr, muon_lr
        self.step, self.seen, self.spent = 0, 0, 0.0
        self.follow()

    def follow(self) -> None:
        """Starts the moving average at the present weights."""
        self.average = {k: v.clone() for k, v in self.vae.state_dict().items()}

    def set_rate(self, rate: float) -> None:
        self.adam.param_groups[0]["lr"] = self.lr * rate
        if self.muon:
            self.muon.param_groups[0]["lr"] = self.muon_lr * rate

    @torch.no_grad()
    def update(self, worker: int, workers: int) -> None:
        torch.nn.utils.clip_grad_norm_(self.trained, 0.5)
        self.adam.step()
        if self.muon:
            self.muon.step(worker, workers, sum_over_workers if workers > 1 else None)
        self.vae.zero_grad()
        self.step += 1
        keep, state = min(0.997, (1 + self.step) / (10 + self.step)), self.vae.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [state[k] for k in self.average], 1 - keep)

    def shadow(self, statistics_from: Batches | None) -> CausalVae:
        """The averaged VAE, its latents normalised over sample clips, or (None) as they were."""
        shadow = CausalVae(self.vae.config).to(next(self.vae.parameters()).device)
        shadow.load_state_dict(self.average)
        shadow.eval().requires_grad_(False)
        if statistics_from is not None:
            shadow.set_latent_statistics(*latent_statistics(shadow, statistics_from))
        return shadow

    def save(self, path: Path, shadow: CausalVae) -> None:
        saved = {"config": self.vae.config.to_dict(), "model": self.vae.state_dict(), "ema": shadow.state_dict()}
        saved |= {"adam": self.adam.state_dict(), "muon": self.muon.state_dict() if self.muon else None}
        saved |= {"step": self.step, "seen": self.seen, "spent": self.spent}
        torch.save(saved, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.vae.load_state_dict(saved["model"])
        for name, value in saved["ema"].items():
            self.average[name].copy_(value)
        self.step, self.seen, self.spent = saved["step"], saved["seen"], saved["spent"]
        self.adam.load_state_dict(saved["adam"])
        if self.muon:
            self.muon.load_state_dict(saved["muon"])


def train(worker: int, a: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(a.seed * 1000 + worker)
    if a.workers > 1:
        dist.init_process_group("gloo", rank=worker, world_size=a.workers)
    checkpoint, device = a.out / "checkpoint.pt", training_device(a.device)
    seed = a.seed * 1000 + 100 * worker + int(time.time())
    early, late = (pattern and Batches(pattern, seed + shift, device) for pattern, shift in ((a.pools, 0), (a.late_pools, 50)))
    small, large = (batches and crops(batches, a.batch) for batches in (early, late))
    held = held_out_excerpts(a.held) if worker == 0 else []
    vae = CausalVae() if a.start is None else grow_vae(a.start)
    known = copy.deepcopy(vae.encoder).requires_grad_(False).to(device, memory_format=torch.channels_last) if a.hold else None
    vae.encoder.requires_grad_(not a.decoder_only)
    run = Run(vae.to(device, memory_format=torch.channels_last), a.lr, a.muon)
    if a.compile:
        # Four widths at three sizes, with gradients and without.
        torch._dynamo.config.recompile_limit = 64
        for half in filter(None, (vae.encoder, vae.decoder, known)):
            for block in (*half.coarse, *half.fine):
                block.compile(dynamic=False)
    if checkpoint.exists():
        run.load(checkpoint)
    elif a.start is None:
        kept = start_from_pca(run.vae, Batches(a.pools, a.seed).draw(256, 12, 64).to(device))
        run.follow()
        print(f"worker {worker}: principal components keep {kept:.4f} of the variance", flush=True)
    began, next_save, sums = time.time() - run.spent, run.spent + a.every, torch.zeros(4, device=device)

    def report() -> None:
        shadow = run.shadow(None if a.decoder_only or a.hold else early)
        run.save(checkpoint, shadow)
        scores = [round_trip_psnr(shadow, x.to(device)) for x in held]
        text = " ".join(f"{s:.2f}" for s in scores)
        print(f"{run.spent:.0f}s step {run.step} crops {run.seen} held [{text}] mean {np.mean(scores or [0]):.2f}", flush=True)

    while run.spent < a.minutes * 60:
        done = run.spent / (a.minutes * 60)
        run.set_rate(min(1.0, (run.step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))))
        x = next(large if large is not None and done > a.late and run.step % 2 == 0 else small)
        y, mean, log_variance = forward(run.vae, x, a.grain[0] + (a.grain[1] - a.grain[0]) * min(1.0, done / 0.8))
        loss, decibels = reconstruction_loss(y, x, a.decibels[0] + (a.decibels[1] - a.decibels[0]) * done, a.steady)
        kl = (mean.pow(2) + log_variance.exp() - 1 - log_variance).mul(0.5).mean()
        moved = latent_change(known, x, mean) if known is not None else torch.zeros_like(kl)
        (loss + 1e-4 * kl + a.hold * moved).backward()
        told = torch.stack([torch.full_like(decibels, time.time() - began), loss.detach(), decibels, kl.detach(), moved.detach()])
        told = average([p.grad for p in run.trained], told, a.workers)
        # Workers must stop at the same step. Of one alone the clock will do, which needs no waiting for the device.
        run.spent = told[0].item() if a.workers > 1 else time.time() - began
        run.update(worker, a.workers)
        run.seen += len(x) * a.workers
        sums += told[1:]
        if run.step % 50 == 0:
            early.renew(a.renew)
            loss_, db, kl_, moved_ = (sums / 50).tolist()
            if not math.isfinite(loss_) or (run.step > 100 and loss_ > 5):
                raise RuntimeError(f"Expected a loss below 5, got {loss_:.3g}. Go back to an earlier checkpoint.")
            if worker == 0:
                print(f"{run.spent:.0f}s step {run.step} crops {run.seen} loss {loss_:.4f} train {db:.2f} dB kl {kl_:.2f} latents moved by {moved_**0.5:.3f}", flush=True)
            sums.zero_()
        if run.spent > next_save:
            if worker == 0:
                report()
            next_save = run.spent + a.every
    if worker == 0:
        report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", required=True)
    parser.add_argument("--late-pools", help="larger clips, used after --late of the time")
    parser.add_argument("--late", type=float, default=0.7)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=6, help="crops of 12 frames of 64 pixels a worker and step; of larger ones as many fewer")
    parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW")
    parser.add_argument("--muon", type=float, default=2e-3, help="learning rate of Muon; 0 leaves all to AdamW")
    parser.add_argument("--grain", type=float, nargs=2, default=(0.0, 0.06), help="extra latent noise, start and end")
    parser.add_argument("--decibels", type=float, nargs=2, default=(0.02, 0.06), help="weight of the error's logarithm, start and end")
    parser.add_argument("--steady", type=float, default=0.0, help="weight of the logarithm of the error's change from frame to frame")
    parser.add_argument("--from", dest="start", type=Path, help="a bundle or a checkpoint whose weights to begin at")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder, and so the latents, as they are")
    parser.add_argument("--hold", type=float, default=0.0, help="weight of the latents' mean squared change since --from: a denoiser of those goes on working")
    parser.add_argument("--held", type=Path, nargs="*", default=[], help="clips to measure on")
    parser.add_argument("--compile", action="store_true", help="the blocks, which takes a while at first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--renew", type=int, default=0, help="clips to read from the pool's file once more after every 50 steps, where it is still being rendered")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=120, help="seconds between checkpoints")
    a = parser.parse_args()
    if a.hold and a.start is None:
        parser.error("Expected --from beside --hold, got none. Name the bundle whose latents to hold.")
    a.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if a.workers == 1:
        train(0, a)
    else:
        mp.spawn(train, (a,), nprocs=a.workers)


if __name__ == "__main__":
    main()
