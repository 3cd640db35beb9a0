"""A judge that has never seen a generated clip: names thing, scene, motion and style from four frames.

    python -m eval.judge train --cache CACHE --out JUDGE          learns from rendered clips
    python -m eval.judge score --judge JUDGE --denoiser CKPT --text CKPT --vae CKPT --tokenizer JSON [--clips 48] [--held-out]
        --out FOLDER                                              judges generated clips against their prompts
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from reel_tiny.denoiser.sample import load_models, sample, strip, to_frames
from reel_tiny.world.captions import caption
from reel_tiny.world.motions import MOTION_NAMES
from reel_tiny.world.render import FRAMES, Spec
from reel_tiny.world.sampling import sample_spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES
from reel_tiny.world.things import THING_NAMES
from torch import Tensor, nn

ASPECTS: dict[str, tuple[str, ...]] = {
    "thing": ("nothing", *THING_NAMES),
    "scene": SCENE_NAMES,
    "motion": MOTION_NAMES,
    "style": STYLE_NAMES,
}
SEEN = (0, 3, 12, FRAMES - 1)
SIDE = 64


class Judge(nn.Module):
    """[N, 12, 64, 64] (four RGB frames) -> one row of logits an aspect."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3 * len(SEEN)
        for out in (width, 2 * width, 3 * width, 4 * width):
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
        self.heads = nn.ModuleList(nn.Linear(16 * channels, len(names)) for names in ASPECTS.values())

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.body(x)
        return [head(features) for head in self.heads]


def look(clip: np.ndarray) -> np.ndarray:
    """Four frames of a clip uint8 [25, 128, 128, 3] as float32 [12, 64, 64] in [-1, 1]."""
    small = [cv2.resize(clip[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in SEEN]
    return np.concatenate(small, 2).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1


def labels_of(spec: Spec) -> list[int]:
    thing = "nothing" if spec.thing is None else spec.thing
    named = (thing, spec.scene, spec.motion, spec.style)
    return [names.index(value) for names, value in zip(ASPECTS.values(), named, strict=True)]


def roughen(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise and shades, so that a generated clip's softness alone doesn't mislead."""
    if torch.rand(1, generator=generator) < 0.5:
        x = F.avg_pool2d(x, 3, 1, 1)
    x = x + torch.randn(x.shape, generator=generator) * 0.08 * torch.rand(len(x), 1, 1, 1, generator=generator)
    return x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1, generator=generator))


def train(options: argparse.Namespace) -> None:
    folder = Path(options.cache) / "world"
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    specs = [Spec(**row["spec"]) for row in json.loads((folder / "rows.json").read_text())]
    inputs = torch.from_numpy(np.stack([look(clip) for clip in pixels]))
    labels = torch.tensor([labels_of(spec) for spec in specs])
    held = torch.arange(len(specs)) % 10 == 0
    chosen = torch.nonzero(~held)[:, 0]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    judge, start = Judge(), time.time()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps)
    for step in range(1, options.steps + 1):
        rows = chosen[torch.randint(len(chosen), (64,), generator=generator)]
        answers = judge(roughen(inputs[rows], generator))
        loss = sum(F.cross_entropy(answer, labels[rows, i]) for i, answer in enumerate(answers))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    judge.eval()
    with torch.no_grad():
        answers = judge(inputs[held])
    right = {name: (answer.argmax(1) == labels[held, i]).float().mean().item() for i, (name, answer) in enumerate(zip(ASPECTS, answers, strict=True))}
    print(f"right of {int(held.sum())} held-out renders: " + ", ".join(f"{name} {share:.3f}" for name, share in right.items()))
    torch.save(judge.state_dict(), options.out)


def score(options: argparse.Namespace) -> None:
    judge = Judge()
    judge.load_state_dict(torch.load(options.judge, map_location="cpu", weights_only=True))
    judge.eval()
    models = load_models(options.denoiser, options.text, options.tokenizer, options.vae)
    rng = np.random.default_rng(options.seed)
    wrong: dict[str, int] = dict.fromkeys(ASPECTS, 0)
    rows = []
    for index in range(0, options.clips, options.batch):
        count = min(options.batch, options.clips - index)
        specs = [sample_spec(rng, held_out=options.held_out, styled=0.25) for _ in range(count)]
        prompts = [caption(spec, rng) for spec in specs]
        latents = sample(models, prompts, list(range(index, index + count)), steps=options.steps, guidance=options.guidance, shift=options.shift)
        clips = to_frames(models, latents)
        with torch.no_grad():
            answers = judge(torch.from_numpy(np.stack([look(clip) for clip in clips])))
        for at, (spec, prompt) in enumerate(zip(specs, prompts, strict=True)):
            said = {name: names[int(answer[at].argmax())] for (name, names), answer in zip(ASPECTS.items(), answers, strict=True)}
            meant = {name: names[label] for (name, names), label in zip(ASPECTS.items(), labels_of(spec), strict=True)}
            for name in ASPECTS:
                wrong[name] += said[name] != meant[name]
            differs = ", ".join(f"{name} {said[name]}" for name in ASPECTS if said[name] != meant[name])
            print(f"{index + at} {prompt}: {f'looks like {differs}' if differs else 'right'}", flush=True)
            rows.append(strip(clips[at], 5))
    print("right: " + ", ".join(f"{name} {options.clips - count}/{options.clips}" for name, count in wrong.items()))
    Path(options.out).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(Path(options.out) / "judged.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "score"))
    parser.add_argument("--out", required=True)
    for name in ("cache", "judge", "denoiser", "text", "vae", "tokenizer"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--held-out", action="store_true", help="only thing-scene pairs that training never saw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.step == "train":
        options.steps = options.steps or 600
        train(options)
    else:
        options.steps = options.steps or 20
        score(options)


if __name__ == "__main__":
    main()
