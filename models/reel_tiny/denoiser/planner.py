"""What words alone settle before anything is drawn: which thing, and where it is at each moment. From that, a draft.

A network of this size learns in hours what things do and how scenes look, but not hundreds of pictures by heart in every pose. So it
looks them up: a small picture of each thing is stored beside the weights, found by the prompt and laid where the thing should
be (retrieval-augmented diffusion, Blattmann et al. 2022, arXiv:2204.11824). The denoiser sees this draft and paints with it.

    python -m reel_tiny.denoiser.planner --bundle reel-tiny --data DATA --out planner.pt

trains it on captions alone, in a few minutes. It is then frozen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..text.train import load_bundled_encoder
from ..text.typos import misspell
from ..vae.model import gather_patches
from ..world.captions import caption, restyle_caption
from ..world.motions import MOTIONS, Path as Course
from ..world.render import FRAMES
from ..world.sampling import sample_spec
from ..world.styles import STYLE_NAMES
from ..world.things import ASSETS, THING_NAMES, sprite
from .positions import middles, sinusoid

PICTURE = 48
# Pictures are stored as bytes, of which this one is 1.
WHOLE = 127
# The first stands for nothing.
THINGS = 1 + len(THING_NAMES)
# Samples of the draft across a latent position, and moments of it that a latent frame shows: its frames.
FINENESS, MOMENTS = 4, 4
DRAFT_CHANNELS = MOMENTS * 4 * FINENESS**2
LATENT_FRAMES = (FRAMES - 1) // MOMENTS + 1
# x, y and size as fractions of the frame, cosine and sine of the turn.
POSE = 5


class Planner(nn.Module):
    def __init__(self, text_width: int, things: int = THINGS) -> None:
        super().__init__()
        self.thing = nn.Linear(text_width, things)
        self.course = nn.Sequential(nn.Linear(text_width + 64, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, MOMENTS * POSE))
        # RGBA with colours premultiplied, [0, 1] as 0 to WHOLE.
        self.pictures = nn.Parameter(torch.zeros(things, 4 * PICTURE * PICTURE, dtype=torch.int8), requires_grad=False)

    def poses(self, summary: Tensor, index: Tensor) -> Tensor:
        """[B, t, 4, 5]: where the thing is in each frame of latent frames `index` [B, t]. `summary` [B, 192]."""
        when = sinusoid(index.reshape(-1), 64, 100.0).view(*index.shape, 64)
        return self.course(torch.cat([summary[:, None].expand(-1, index.shape[1], -1), when], 2)).unflatten(2, (MOMENTS, POSE))

    def picture(self, summary: Tensor, reference: Tensor | None = None) -> Tensor:
        """[B, 4, 48, 48]: the picture of the thing that the words most likely name, nothing where they name none.

        `reference` [B, 4, 48, 48] takes its place where it shows something.
        """
        own = (self.pictures[self.thing(summary).argmax(1)].float() / WHOLE).view(-1, 4, PICTURE, PICTURE)
        if reference is None:
            return own
        return torch.where(reference[:, 3:].amax((2, 3), keepdim=True) > 0, reference, own)


def draft(picture: Tensor, poses: Tensor, height: int, width: int) -> Tensor:
    """[B * t, 256, height, width]: the picture [B, 4, 48, 48] laid at `poses` [B, t, 4, 5]; 4x4 samples a latent position."""
    batch, frames = poses.shape[:2]
    x, y, size, cosine, sine = poses.reshape(-1, POSE, 1, 1).unbind(1)
    length = torch.sqrt(cosine.square() + sine.square()).clamp(min=1e-3)
    # In units of half the picture's side, from its middle.
    unit = 2 / (size.clamp(min=0.05) * length * min(height, width))
    down = (middles(FINENESS * height, poses)[None, :, None] - y) * height * unit
    along = (middles(FINENESS * width, poses)[None, None, :] - x) * width * unit
    grid = torch.stack([cosine * along + sine * down, cosine * down - sine * along], 3)
    repeated = picture[:, None].expand(-1, frames * MOMENTS, -1, -1, -1).reshape(-1, *picture.shape[1:])
    laid = F.grid_sample(repeated, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return gather_patches(laid, FINENESS).reshape(batch * frames, DRAFT_CHANNELS, height, width)


def moments_of(latent_frame: int) -> list[float]:
    """When the frames of a latent frame are, as shares of a clip. The first latent frame is one frame four times."""
    last = MOMENTS * latent_frame
    return [max(0, last - before) / (FRAMES - 1) for before in reversed(range(MOMENTS))]


def course_poses(course: Course) -> np.ndarray:
    """float32 [7, 4, 5]: poses of all latent frames of a clip."""
    poses = [[course(moment) for moment in moments_of(frame)] for frame in range(LATENT_FRAMES)]
    turns = [[(x, y, size, np.cos(np.radians(degrees)), np.sin(np.radians(degrees))) for x, y, size, degrees in frame] for frame in poses]
    return np.array(turns, np.float32)


def load_pictures(assets: str) -> Tensor:
    """int8 [THINGS, 4 * 48 * 48], as the planner has them."""
    small = [cv2.resize(sprite(assets, name), (PICTURE, PICTURE), interpolation=cv2.INTER_AREA).transpose(2, 0, 1) for name in THING_NAMES]
    pictures = torch.from_numpy(np.stack([np.zeros_like(small[0]), *small])).flatten(1)
    return (pictures * WHOLE).round().clamp(0, WHOLE).to(torch.int8)


def sample_plan(rng: np.random.Generator) -> tuple[str, int, np.ndarray]:
    """A caption, the index of its thing (0: none), the poses of one course that it can mean."""
    spec = sample_spec(rng, held_out=None, styled=0.4)
    kind = rng.random()
    if kind < 0.03:
        return "", 0, np.zeros((LATENT_FRAMES, MOMENTS, POSE), np.float32)
    if kind < 0.1:
        return restyle_caption(None, STYLE_NAMES[int(rng.integers(1, len(STYLE_NAMES)))], rng), 0, np.zeros((LATENT_FRAMES, MOMENTS, POSE), np.float32)
    text = caption(spec, rng)
    thing = 0 if spec.thing is None else 1 + THING_NAMES.index(spec.thing)
    return (misspell(text, rng) if rng.random() < 0.15 else text), thing, course_poses(MOTIONS[spec.motion](rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(3)
    tokenizer, encoder = Tokenizer.from_file(str(options.bundle / "tokenizer/tokenizer.json")), load_bundled_encoder(options.bundle)
    planner = Planner(encoder.norm.normalized_shape[0])
    with torch.no_grad():
        planner.pictures.copy_(load_pictures(str(options.data / ASSETS)))
    learning = [p for name, p in planner.named_parameters() if name != "pictures"]
    optimizer = torch.optim.AdamW(learning, lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps, pct_start=0.1)
    start, index = time.time(), torch.arange(LATENT_FRAMES).float()

    def batch(size: int) -> tuple[Tensor, Tensor, Tensor]:
        texts, things, poses = zip(*(sample_plan(rng) for _ in range(size)), strict=True)
        encoded = tokenizer.encode_batch(list(texts))
        with torch.no_grad():
            summary = encoder(torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded]))[:, 0]
        return summary, torch.tensor(things), torch.from_numpy(np.stack(poses))

    for step in range(1, options.steps + 1):
        summary, things, poses = batch(128)
        error = (planner.poses(summary, index.expand(len(summary), -1)) - poses).square().mean((1, 2, 3))
        loss = F.cross_entropy(planner.thing(summary), things) + 10 * error[things > 0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            right = (planner.thing(summary).argmax(1) == things).float().mean().item()
            print(f"step {step} things right {right:.3f}, poses off by {error[things > 0].mean().sqrt().item():.4f}, {time.time() - start:.0f} s", flush=True)
    torch.save(planner.state_dict(), options.out)


if __name__ == "__main__":
    main()
