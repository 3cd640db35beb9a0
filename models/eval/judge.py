"""A judge that has never seen a generated clip: names thing, scene, motion and style, and tells a picture from a cross-fade.

    python -m eval.judge --cache CACHE --data DATA --out eval/judge.pt [--steps 6000] [--device cuda --ahead 6]

Learns from clips that the renderer makes meanwhile, and from real ones and photos in styles (CACHE, see reel_tiny/denoiser/cache.py), then
names new renders of combinations that are held out of training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reel_tiny.denoiser.tasks import draws
from reel_tiny.precision import autocast
from reel_tiny.workers import feed
from reel_tiny.world.motions import MOTION_NAMES
from reel_tiny.world.render import Spec, render
from reel_tiny.world.sampling import sample_spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES
from reel_tiny.world.things import ASSETS, THING_NAMES

ASPECTS: dict[str, tuple[str, ...]] = {
    "thing": ("nothing", *THING_NAMES),
    "scene": SCENE_NAMES,
    "motion": MOTION_NAMES,
    "style": STYLE_NAMES,
}
WEIGHTS = Path(__file__).parent / "judge.pt"
SEEN = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE = 128
IGNORED = -1
# Share of training clips that are of the real world, which tell of styles alone: recordings and photos by halves.
REAL = 0.24
# Share of batches that show one frame of each clip.
SINGLE = 0.75
# Share of clips of the small world that are in a style.
STYLED = 0.5
# Share of clips that are faded into another, to learn what a cross-fade looks like.
FADED = 0.15
# Pixels by which frames are moved in training.
MOVED = 6


class Judge(nn.Module):
    """[N, T, 3, 128, 128] in [-1, 1] -> a row of logits an aspect [N, K], and one logit a frame [N, T]: above 0, it is a cross-fade.

    Each frame is seen by the same network, and what it shows is the mean over frames; motion needs all five of SEEN.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out, stride in ((width, 2), (2 * width, 2), (4 * width, 2), (6 * width, 2), (4 * width, 1)):
            layers += [nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear((SIDE // 16) ** 2 * channels, 256), nn.BatchNorm1d(256), nn.ReLU())
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
    """The frames at `moments` (shares of the clip) of uint8 [T, H, W, 3], as uint8 [len(moments), 3, 128, 128]."""
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


def grown(path: Path) -> Judge:
    """To train on from: a judge of all names, with the weights of one that knows the first of them. Throws ValueError where it knows others."""
    saved, judge = torch.load(path, map_location="cpu", weights_only=True), Judge()
    if any(list(names)[: len(saved["names"][name])] != saved["names"][name] for name, names in ASPECTS.items()):
        raise ValueError(f"Expected {path} to know the first names of the small world, got others. Train from nothing: leave out --start.")
    state = judge.state_dict()
    for name, value in saved["judge"].items():
        known = state[name][tuple(slice(size) for size in value.shape)]
        known.copy_(value)
    return judge


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


def all_of(frames: np.ndarray) -> Tensor:
    """[T, 3, 128, 128], each frame of uint8 [T, H, W, 3] as the judge sees it."""
    return to_input(look(frames, tuple(np.linspace(0, 1, len(frames)))))


def is_faded(judge: Judge, frames: np.ndarray) -> np.ndarray:
    """Whether each frame of uint8 [T, H, W, 3] looks like a cross-fade of two pictures."""
    return (judge(all_of(frames)[None])[1][0] > 0).numpy()


def shows_a_thing(judge: Judge, frames: np.ndarray) -> np.ndarray:
    """Whether each frame of uint8 [T, H, W, 3], seen alone, shows a thing that can be named, more likely than not."""
    answers, _ = judge(all_of(frames)[:, None])
    return (answers["thing"].exp()[:, 1:].amax(1) >= 0.5).numpy()


class Examples:
    """Clips of the small world, none of which is of a held-out combination, and of a cache of the real one: there more often those in faint styles."""

    def __init__(self, cache: Path, assets: str, seed: int) -> None:
        self.pixels = {name: np.load(cache / name / "pixels.npy", mmap_mode="r") for name in ("real", "stills")}
        styles = {name: [row["style"] for row in json.loads((cache / name / "rows.json").read_text())] for name in self.pixels}
        self.order = {name: [(row, style) for row, style in enumerate(listed) for _ in range(draws(style))] for name, listed in styles.items()}
        self.assets, self.rng = assets, np.random.default_rng(seed)

    def clip(self, moments: tuple[float, ...] = SEEN) -> tuple[np.ndarray, list[int]]:
        """What `look` shows of a clip at these moments, and its labels."""
        draw = self.rng.random()
        if draw < REAL:
            name = "real" if draw < REAL / 2 else "stills"
            row, style = self.order[name][int(self.rng.integers(len(self.order[name])))]
            return look(self.pixels[name][row], moments), labels_of(None, style)
        spec = sample_spec(self.rng, held_out=False, styled=STYLED)
        clip = render(spec, self.assets, moments=moments)
        return clip.transpose(0, 3, 1, 2), labels_of(spec, spec.style)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Frames uint8 [size, 5, 3, 128, 128] and labels int64 [size, 4]; or, for a share of SINGLE, single frames [5 * size, 1, 3, 128, 128]."""
        moments = SEEN
        if self.rng.random() < SINGLE:
            # Only motion needs five frames: of single ones, five times as many clips are seen in the same time.
            size, moments = size * len(SEEN), (float(self.rng.random()),)
        seen, labels = zip(*(self.clip(moments) for _ in range(size)), strict=True)
        return torch.from_numpy(np.stack(seen)), torch.tensor(labels)


def fade_some(x: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Fades a share of the clips into others. Returns frames, labels (none for faded clips) and which were faded."""
    other = torch.randperm(len(x), generator=generator, device=x.device)
    faded = (torch.rand(len(x), generator=generator, device=x.device) < FADED) & (labels[:, 0] >= 0) & (labels[other, 0] >= 0)
    # Two scenes in place of one are a cross-fade too, but the same thing twice is not.
    faded &= labels[:, 0] != labels[other, 0]
    share = torch.where(faded, torch.rand(len(x), generator=generator, device=x.device) * 0.5 + 0.25, 0.0)[:, None, None, None, None]
    return x * (1 - share) + x[other] * share, labels.masked_fill(faded[:, None], IGNORED), faded


def roughen(x: Tensor, generator: torch.Generator) -> Tensor:
    """Moved a little, blur, noise and shades, so that a generated clip's softness alone doesn't mislead."""
    down, right = np.random.randint(0, 2 * MOVED + 1, 2)
    frames = F.pad(x.flatten(0, 1), (MOVED,) * 4, mode="replicate")[..., down : down + SIDE, right : right + SIDE]
    if np.random.rand() < 0.5:
        frames = F.avg_pool2d(frames, 3, 1, 1, count_include_pad=False)
    x, shape = frames.unflatten(0, x.shape[:2]), (len(x), 1, 1, 1, 1)
    x = x + torch.randn(x.shape, generator=generator, device=x.device) * 0.08 * torch.rand(shape, generator=generator, device=x.device)
    return x * (0.85 + 0.3 * torch.rand(shape, generator=generator, device=x.device))


def train(judge: Judge, batches: Iterator[tuple[Tensor, Tensor]], device: torch.device, steps: int, rate: float) -> None:
    judge.train().requires_grad_(True).to(device, memory_format=torch.channels_last)
    generator, start = torch.Generator(device).manual_seed(0), time.time()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        seen, labels = next(batches)
        x, told, faded = fade_some(to_input(seen.to(device)), labels.to(device), generator)
        with autocast(device):
            answers, fading = judge(roughen(x, generator))
        loss = F.binary_cross_entropy_with_logits(fading, faded[:, None].float().expand_as(fading))
        for aspect, name in enumerate(ASPECTS):
            if name not in answers:
                continue
            loss = loss + F.cross_entropy(answers[name], told[:, aspect], ignore_index=IGNORED, label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {steps} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    judge.cpu().eval().requires_grad_(False)


@torch.no_grad()
def mix(judge: Judge, other: Judge) -> None:
    """Makes the judge the mean of both, batch statistics too."""
    known = other.state_dict()
    for name, value in judge.state_dict().items():
        if value.is_floating_point():
            value.lerp_(known[name], 0.5)


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
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--start", type=Path, help="a judge to go on from; it may know fewer names")
    parser.add_argument("--mean", action="store_true", help="write the mean of the weights at the start and at the end, which keeps more of what was known")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ahead", type=int, default=0, help="processes that draw clips before they are needed")
    parser.add_argument("--checked", type=int, default=500, help="renders to name at the end")
    options = parser.parse_args()
    if options.mean and options.start is None:
        parser.error("Expected --start with --mean, got none.")
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    judge, assets = Judge() if options.start is None else grown(options.start), str(options.data / ASSETS)

    def start(seed: int) -> Callable[[], tuple[Tensor, Tensor]]:
        examples = Examples(options.cache, assets, seed)
        return lambda: examples.batch(options.batch)

    train(judge, feed(start, options.seed, options.ahead), torch.device(options.device), options.steps, options.rate)
    if options.mean:
        mix(judge, grown(options.start))
    state = {name: value.half() if value.is_floating_point() else value for name, value in judge.state_dict().items()}
    torch.save({"names": {name: list(names) for name, names in ASPECTS.items()}, "judge": state}, options.out)
    with torch.no_grad():
        shares = check(load_judge(options.out), assets, options.checked)
    print(f"right of {options.checked} renders of held-out combinations: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))


if __name__ == "__main__":
    main()
