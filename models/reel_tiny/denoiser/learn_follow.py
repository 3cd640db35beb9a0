"""Teaches a bundle's denoiser what to follow of its drafts (see follow.py): what the bundle's VAE makes of them, and which words ask for it.

    python -m reel_tiny.denoiser.learn_follow --bundle reel-tiny --out follow.pt --minutes 9 --threads 2

`denoiser.integers --follow follow.pt` writes it into the bundle. All else in the denoiser is held fast.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from ..text.train import load_bundled_encoder
from ..text.widen import read, sample
from ..vae.model import SPATIAL, spread_patches
from ..vae.stream import VaeStream
from ..weights import load_denoiser
from ..world.motions import MOTION_NAMES, MOTIONS
from .follow import Follow, covered
from .planner import FINENESS, MOMENTS, PICTURE, WHOLE, Planner, course_poses, draft

# What the thing of a draft lies on, [0, 1].
GREY = 0.6
# Styles in which things are told better for being followed.
HIDING = ("pencil", "comic", "neon", "sepia", "thermal")
# Latent positions a side, clips that are encoded, of which the first ones check, and clips a step.
SIDE, CLIPS, CHECKED, BATCH = 16, 460, 20, 4
PROMPTS, CHECKED_PROMPTS = 12000, 2000
# How much of a position the thing has to cover to count in what is learnt.
COUNTED = 0.1


def pixels(picture: Tensor, poses: Tensor) -> np.ndarray:
    """uint8 [4k+1, 128, 128, 3] of a picture [1, 4, 48, 48] at `poses` [1, k+1, 4, 5] over GREY."""
    # A draft has FINENESS samples across a position, so this one has a sample for each pixel.
    fine = draft(picture, poses, SIDE * SPATIAL // FINENESS, SIDE * SPATIAL // FINENESS)
    laid = spread_patches(fine.unflatten(1, (MOMENTS, -1)).flatten(0, 1), FINENESS)[MOMENTS - 1 :]
    return ((laid[:, :3] + (1 - laid[:, 3:]) * GREY).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def sample_drafts(planner: Planner, vae: VaeStream, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Drafts [count, 7, 256, 16, 16] of any things that move in any way, and the VAE's latents [count, 16, 7, 16, 16] of them, both float16."""
    drafts, latents = [], []
    for _ in range(count):
        picture = planner.pictures[1 + int(rng.integers(len(planner.pictures) - 1))].float().view(1, 4, PICTURE, PICTURE) / WHOLE
        poses = torch.from_numpy(course_poses(MOTIONS[MOTION_NAMES[int(rng.integers(len(MOTION_NAMES)))]](rng)))[None]
        drafts.append(draft(picture, poses, SIDE, SIDE).half())
        latents.append(torch.from_numpy(vae.encode(pixels(picture, poses))[0]).half())
    return torch.stack(drafts), torch.stack(latents)


def error(follow: Follow, drafts: Tensor, latents: Tensor) -> Tensor:
    """Mean squared error of what is followed, and a little around it."""
    drafts = drafts.float()
    counts = (covered(drafts) > COUNTED)[:, None]
    return ((follow.encode(drafts) - latents.float()).square() * counts).sum() / counts.sum() / latents.shape[1]


def learn(parameters: list[Tensor], rate: float, seconds: float, loss: Callable[[], Tensor], tell: Callable[[], str]) -> None:
    """AdamW, at the full rate for two fifths of the time."""
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.01)
    start, step = time.monotonic(), 0
    while (spent := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * min(1, (1 - spent) / 0.6)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        step += 1
        if step % 400 == 0:
            print(f"step {step}: {tell()}, {time.monotonic() - start:.0f} s", flush=True)
    print(f"in the end, after {step} steps: {tell()}", flush=True)


def read_prompts(bundle: Path, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Summaries [PROMPTS, 192] of prompts of all kinds that name a thing, and whether they ask for a style among HIDING."""
    said = [one for one in (sample(rng) for _ in range(2 * PROMPTS)) if one.spec is not None and one.spec.thing is not None][:PROMPTS]
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer/tokenizer.json"))
    summaries = read(load_bundled_encoder(bundle), tokenizer, [one.prompt for one in said])[:, 0]
    return summaries, torch.tensor([float(one.spec.style in HIDING) for one in said])


def learn_words(follow: Follow, bundle: Path, rng: np.random.Generator) -> None:
    with torch.no_grad():
        summaries, asked = read_prompts(bundle, rng)

    def right() -> str:
        told = follow.hides(summaries[:CHECKED_PROMPTS])[:, 0] > 0
        return f"{(told == (asked[:CHECKED_PROMPTS] > 0)).float().mean():.4f} of prompts right"

    def crossed() -> Tensor:
        some = torch.from_numpy(rng.integers(CHECKED_PROMPTS, len(asked), 512))
        return F.binary_cross_entropy_with_logits(follow.hides(summaries[some])[:, 0], asked[some])

    learn(list(follow.hides.parameters()), 1e-2, 5, crossed, right)


def learn_drafts(follow: Follow, planner: Planner, vae: VaeStream, seconds: float, rng: np.random.Generator) -> None:
    with torch.no_grad():
        drafts, latents = sample_drafts(planner, vae, CLIPS, rng)

    def off() -> str:
        with torch.no_grad():
            return f"squared error {error(follow, drafts[:CHECKED], latents[:CHECKED]):.4f}"

    def missed() -> Tensor:
        some = torch.from_numpy(rng.integers(CHECKED, CLIPS, BATCH))
        return error(follow, drafts[some], latents[some])

    learn([p for name, p in follow.named_parameters() if not name.startswith("hides")], 2e-3, seconds, missed, off)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(7)
    denoiser = load_denoiser(a.bundle)
    follow = Follow(denoiser.config.text_width, denoiser.config.latent_channels)
    learn_words(follow, a.bundle, rng)
    learn_drafts(follow, denoiser.planner, VaeStream(a.bundle, a.threads), 60 * a.minutes, rng)
    torch.save(follow.state_dict(), a.out)


if __name__ == "__main__":
    main()
