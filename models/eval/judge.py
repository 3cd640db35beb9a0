"""A judge that has never seen a generated clip: names thing, scene, motion and style, and tells a picture from a cross-fade.

    python -m eval.judge --cache CACHE --data DATA --out eval/judge.pt [--steps 4000] [--start eval/judge.pt --rate 1e-3]

Learns from clips that the renderer makes (CACHE gives empty scenes and real clips, see reel_tiny/denoiser/cache.py), then
names renders of combinations that are held out of training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reel_tiny.denoiser.cache import ASSETS
from reel_tiny.world.motions import MOTION_NAMES, MOTIONS
from reel_tiny.world.render import FRAMES, Spec, paste_over, render
from reel_tiny.world.sampling import is_held_out, sample_spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES, STYLES
from reel_tiny.world.things import THING_NAMES

T = TypeVar("T")

ASPECTS: dict[str, tuple[str, ...]] = {
    "thing": ("nothing", *THING_NAMES),
    "scene": SCENE_NAMES,
    "motion": MOTION_NAMES,
    "style": STYLE_NAMES,
}
WEIGHTS = Path(__file__).parent / "judge.pt"
SEEN = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE = 64
IGNORED = -1
# Shares of training clips: in a style, of the real world (which tell of styles alone), with nothing on the scene.
STYLED, REAL, EMPTY = 0.6, 0.12, 0.05
# Share of clips that are faded into another, to learn what a cross-fade looks like.
FADED = 0.15
# Rendering takes longer than learning: of a batch one clip in NEW_OF is new, the rest are drawn from the last KEPT that were rendered.
NEW_OF, KEPT = 5, 8000


class Judge(nn.Module):
    """[N, T, 3, 64, 64] in [-1, 1] -> a row of logits an aspect [N, K], and one logit a frame [N, T]: above 0, it is a cross-fade.

    Each frame is seen by the same network, and what it shows is the mean over frames; motion needs all five of SEEN.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out, stride in ((width, 2), (2 * width, 2), (4 * width, 2), (6 * width, 2), (4 * width, 1)):
            layers += [nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels, 256), nn.BatchNorm1d(256), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(names)) for name, names in ASPECTS.items() if name != "motion"})
        self.fade = nn.Linear(256, 1)
        self.motion = nn.Sequential(nn.Linear(256 * len(SEEN), 256), nn.ReLU(), nn.Linear(256, len(MOTION_NAMES)))

    def forward(self, frames: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        count, length = frames.shape[:2]
        seen = self.body(frames.flatten(0, 1).to(memory_format=torch.channels_last)).unflatten(0, (count, length))
        dropped = self.drop(seen)
        answers = {name: head(dropped).float().log_softmax(-1).mean(1) for name, head in self.heads.items()}
        if length == len(SEEN):
            answers["motion"] = self.motion(dropped.flatten(1)).float()
        return answers, self.fade(dropped)[..., 0].float()


def look(clip: np.ndarray, moments: tuple[float, ...] = SEEN) -> np.ndarray:
    """The frames at `moments` (shares of the clip) of uint8 [T, H, W, 3], as uint8 [len(moments), 3, 64, 64]."""
    picked = [clip[round(moment * (len(clip) - 1))] for moment in moments]
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in picked]).transpose(0, 3, 1, 2)


def to_input(seen: np.ndarray | Tensor) -> Tensor:
    return torch.as_tensor(seen).float() / 127.5 - 1


def labels_of(spec: Spec | None, style: str) -> list[int]:
    """An index an aspect; what a clip of the real world doesn't tell is IGNORED."""
    if spec is None:
        return [IGNORED, IGNORED, IGNORED, STYLE_NAMES.index(style)]
    named = ("nothing" if spec.thing is None else spec.thing, spec.scene, spec.motion, spec.style)
    return [names.index(value) for names, value in zip(ASPECTS.values(), named, strict=True)]


def load_judge(path: Path = WEIGHTS) -> Judge:
    """Throws ValueError where it was trained for other names."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["names"] != {name: list(names) for name, names in ASPECTS.items()}:
        raise ValueError(f"Expected {path} to know the names of the small world, got others. Train it again: python -m eval.judge.")
    judge = Judge()
    judge.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in saved["judge"].items()})
    return judge.eval().requires_grad_(False)


def name_clips(judge: Judge, clips: list[np.ndarray]) -> list[dict[str, str]]:
    """What the judge calls each clip uint8 [T, H, W, 3], by aspect."""
    named = []
    for clip in clips:
        answers, _ = judge(to_input(look(clip))[None])
        named.append({name: names[int(answers[name].argmax())] for name, names in ASPECTS.items()})
    return named


def meant(spec: Spec) -> dict[str, str]:
    """What a clip of `spec` is to be called."""
    return {name: names[label] for (name, names), label in zip(ASPECTS.items(), labels_of(spec, spec.style), strict=True)}


def is_faded(judge: Judge, frames: np.ndarray) -> np.ndarray:
    """Whether each frame of uint8 [T, H, W, 3] looks like a cross-fade of two pictures."""
    moments = tuple(np.linspace(0, 1, len(frames)))
    return (judge(to_input(look(frames, moments))[None])[1][0] > 0).numpy()


class Examples:
    """Clips without end: things pasted anew over the cache's empty scenes, and real ones, in new styles. None is held out."""

    def __init__(self, cache: Path, assets: str, seed: int) -> None:
        self.assets, self.rng = assets, np.random.default_rng(seed)
        self.world = np.load(cache / "world/pixels.npy", mmap_mode="r")
        rows = json.loads((cache / "world/rows.json").read_text())
        self.empty = [(row, entry["spec"]["scene"]) for row, entry in enumerate(rows) if entry["spec"]["thing"] is None and entry["source"] == row]
        self.real = np.load(cache / "real/pixels.npy", mmap_mode="r")
        self.sources = [row for row, entry in enumerate(json.loads((cache / "real/rows.json").read_text())) if entry["source"] == row]
        self.kept: list[tuple[np.ndarray, list[int]]] = []
        self.rendered = 0

    def _pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def _move(self, scene: str, style: str) -> Spec:
        while True:
            spec = Spec(self._pick(THING_NAMES), scene, self._pick(MOTION_NAMES), style, 0)
            if not is_held_out(spec):
                return spec

    def clip(self) -> tuple[np.ndarray, list[int]]:
        """What `look` shows of a new clip, and its labels."""
        frames = [round(moment * (FRAMES - 1)) for moment in SEEN]
        style = self._pick(STYLE_NAMES[1:]) if self.rng.random() < STYLED else "none"
        if self.rng.random() < REAL:
            shown, spec = self.real[self._pick(self.sources)][frames], None
        else:
            row, scene = self._pick(self.empty)
            spec = Spec(None, scene, "still", style, 0)
            if self.rng.random() > EMPTY:
                spec = self._move(scene, style)
            shown = self.world[row][frames]
            if spec.thing is not None:
                shown = paste_over(shown, spec.thing, MOTIONS[spec.motion](self.rng), self.assets, SEEN)
        return look(np.stack([STYLES[style](frame) for frame in shown])), labels_of(spec, style)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Frames [size, 5, 3, 64, 64] in [-1, 1] and labels int64 [size, 4]."""
        for _ in range(size if not self.kept else size // NEW_OF):
            self.kept[self.rendered % KEPT : self.rendered % KEPT + 1] = [self.clip()]
            self.rendered += 1
        seen, labels = zip(*(self._pick(self.kept) for _ in range(size)), strict=True)
        return to_input(np.stack(seen)), torch.tensor(labels)


def fade_some(x: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Fades a share of the clips into others. Returns frames, labels (none for faded clips) and which were faded."""
    other = torch.randperm(len(x), generator=generator)
    faded = (torch.rand(len(x), generator=generator) < FADED) & (labels[:, 0] >= 0) & (labels[other, 0] >= 0)
    # Two scenes in place of one are a cross-fade too, but the same thing twice is not.
    faded &= labels[:, 0] != labels[other, 0]
    share = torch.where(faded, torch.rand(len(x), generator=generator) * 0.5 + 0.25, 0.0)[:, None, None, None, None]
    return x * (1 - share) + x[other] * share, labels.masked_fill(faded[:, None], IGNORED), faded


def roughen(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise and shades, so that a generated clip's softness alone doesn't mislead."""
    if torch.rand(1, generator=generator) < 0.5:
        x = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).unflatten(0, x.shape[:2])
    shape = (len(x), 1, 1, 1, 1)
    x = x + torch.randn(x.shape, generator=generator) * 0.08 * torch.rand(shape, generator=generator)
    return x * (0.85 + 0.3 * torch.rand(shape, generator=generator))


def train(judge: Judge, examples: Examples, steps: int, rate: float, size: int = 64) -> None:
    judge.train().requires_grad_(True).to(memory_format=torch.channels_last)
    generator, start = torch.Generator().manual_seed(0), time.time()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        x, told, faded = fade_some(*examples.batch(size), generator)
        with torch.autocast("cpu", torch.bfloat16):
            answers, fading = judge(roughen(x, generator))
        loss = F.binary_cross_entropy_with_logits(fading, faded[:, None].float().expand_as(fading))
        for aspect, name in enumerate(ASPECTS):
            loss = loss + F.cross_entropy(answers[name], told[:, aspect], ignore_index=IGNORED, label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    judge.eval().requires_grad_(False)


def check(judge: Judge, assets: str, count: int) -> dict[str, float]:
    """The share named right, by aspect, of renders of held-out combinations; and of cross-fades of two of them."""
    rng = np.random.default_rng(99)
    specs = [sample_spec(rng, held_out=True, styled=0.4) for _ in range(count)]
    clips = [render(spec, assets) for spec in specs]
    named = name_clips(judge, clips)
    shares = {name: float(np.mean([said[name] == meant(spec)[name] for said, spec in zip(named, specs, strict=True)])) for name in ASPECTS}
    shares["whole"] = 1 - float(np.mean([is_faded(judge, clip).mean() for clip in clips]))
    mixed = [(a.astype(np.float32) + b) / 2 for a, b in zip(clips, clips[1:], strict=False)]
    shares["faded"] = float(np.mean([is_faded(judge, clip.astype(np.uint8)).mean() for clip in mixed]))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cache", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--start", type=Path, help="a judge to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    judge = Judge() if options.start is None else load_judge(options.start)
    assets = str(options.data / ASSETS)
    train(judge, Examples(options.cache, assets, options.seed), options.steps, options.rate)
    state = {name: value.half() if value.is_floating_point() else value for name, value in judge.state_dict().items()}
    torch.save({"names": {name: list(names) for name, names in ASPECTS.items()}, "judge": state}, options.out)
    with torch.no_grad():
        shares = check(load_judge(options.out), assets, 500)
    print("right of 500 renders of held-out combinations: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))


if __name__ == "__main__":
    main()
