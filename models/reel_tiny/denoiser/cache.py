"""Prepares what the denoiser is trained on: renders clips to uint8 once, then encodes them with a VAE.

    python -m reel_tiny.denoiser.cache render --data DATA --clips CLIPS --out CACHE
    python -m reel_tiny.denoiser.cache encode --vae reel-tiny --out CACHE

CACHE/world: clips of the small world, and for some of them the same clip in a style. CACHE/real and CACHE/stills: crops of
real videos and of photos, each beside itself in styles. CACHE/pasted: things moving over photos and real videos. Each set
is `rows.json` (spec or style, the row of the unstyled source), `pixels.npy` uint8 [N, T, 128, 128, 3], where the thing gets
to, `boxes.npy` [N, 4], and when, `poses.npy` [N, 7, 4, 5] (see planner.py), and, once encoded, `latents.npy` float16
[N, 16, t, 16, 16].
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ..data.render import camera, pyramid
from ..data.sources import load_photos, load_training_clips
from ..precision import autocast
from ..weights import load_vae
from ..workers import share_out
from ..world.render import FRAMES, SIZE, Spec, extent, layout, paste_over, render
from ..world.sampling import training_specs, training_styles
from ..world.styles import STYLE_NAMES, STYLES
from ..world.things import ASSETS
from .planner import LATENT_FRAMES, MOMENTS, POSE, course_poses

Rng = np.random.Generator
Row = dict[str, object]
SETS = ("world", "real", "pasted", "stills")
# Share of real clips that are photos under a moving camera: there are more photos than recordings.
PANNED = 0.4
ARRAYS = {"boxes": (4,), "poses": (LATENT_FRAMES, MOMENTS, POSE)}


def plan_world(plain: int, styled: int, rng: Rng) -> list[Row]:
    """`plain` unstyled clips; the first `styled` of them once more, in a style."""
    specs = training_specs(plain, rng)
    rows = [{"spec": asdict(spec), "style": "none", "source": row} for row, spec in enumerate(specs)]
    for row, style in enumerate(training_styles(specs[:styled])):
        rows.append({"spec": asdict(replace(specs[row], style=style)), "style": style, "source": row})
    return rows


def plan_pasted(count: int, rng: Rng) -> list[Row]:
    specs = [replace(spec, scene="plain") for spec in training_specs(count, rng, alone=0)]
    return [{"spec": asdict(spec), "style": "none", "source": row} for row, spec in enumerate(specs)]


def plan_real(count: int, styles: int, rng: Rng) -> list[Row]:
    """`count` sources, each followed by itself in `styles` styles."""
    rows: list[Row] = []
    for _ in range(count):
        source = len(rows)
        names = rng.permutation(np.array(STYLE_NAMES[1:]))[:styles]
        rows += [{"spec": None, "style": str(style), "source": source} for style in ("none", *names)]
    return rows


def _crop(frames: list[np.ndarray], rng: Rng) -> np.ndarray:
    """The same random square of every frame, mirrored at times, as uint8 [T, 128, 128, 3]."""
    height, width = frames[0].shape[:2]
    side = int(min(height, width) * rng.uniform(0.45, 1.0))
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    out = [cv2.resize(frame[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames]
    clip = np.stack(out)
    return clip[:, :, ::-1] if rng.random() < 0.5 else clip


def _recolour(clip: np.ndarray, rng: Rng) -> np.ndarray:
    if rng.random() < 0.3:
        clip = clip[..., rng.permutation(3)]
    gain, lift = rng.uniform(0.75, 1.2), rng.uniform(-20, 20)
    return np.clip(clip.astype(np.float32) * gain + lift, 0, 255).astype(np.uint8)


class Renderer:
    """Clips of every set, as their rows say."""

    def __init__(self, data: Path, clips: Path, seed: int) -> None:
        self.assets, self.seed = str(data / ASSETS), seed
        self.photos, self.videos = [pyramid(photo) for photo in load_photos(data)], load_training_clips(data, clips)

    def _photo(self, rng: Rng) -> list[np.ndarray]:
        return self.photos[int(rng.integers(len(self.photos)))]

    def _clip(self, rng: Rng) -> np.ndarray:
        if rng.random() < PANNED:
            return _recolour(camera(rng, self._photo(rng), FRAMES, SIZE, rng.exponential(1.6)), rng)
        video = self.videos[int(rng.integers(len(self.videos)))]
        step = int(rng.integers(1, 3)) if len(video) > 2 * FRAMES else 1
        first = int(rng.integers(max(1, len(video) - step * FRAMES + 1)))
        taken = video[first : first + step * FRAMES : step]
        taken = taken + [taken[-1]] * (FRAMES - len(taken))
        return _recolour(_crop(taken, rng), rng)

    def _still(self, rng: Rng) -> np.ndarray:
        if rng.random() < 0.7:
            picture = self._photo(rng)[0]
        else:
            video = self.videos[int(rng.integers(len(self.videos)))]
            picture = video[int(rng.integers(len(video)))]
        return _recolour(_crop([picture], rng), rng)

    def unstyled(self, name: str, row: int, spec: Spec | None) -> np.ndarray:
        """The clip of a source row of a set, whoever asks for it."""
        if name == "world":
            return render(spec, self.assets)
        rng = np.random.default_rng([self.seed, SETS.index(name), row])
        if name == "pasted":
            backdrop = self._clip(rng) if row % 2 else np.repeat(self._still(rng), FRAMES, 0)
            return paste_over(backdrop, str(spec.thing), layout(spec)[1], self.assets)
        return self._still(rng) if name == "stills" else self._clip(rng)

    def part(self, worker: int, workers: int, folder: Path) -> None:
        """Every `workers`-th source of a set, and what is made of it."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("pixels", *ARRAYS)}
        rows = json.loads((folder / "rows.json").read_text())
        made_of: dict[int, list[int]] = {}
        for row, entry in enumerate(rows):
            made_of.setdefault(entry["source"], []).append(row)
        for source in list(made_of)[worker::workers]:
            spec = None if rows[source]["spec"] is None else Spec(**rows[source]["spec"])
            clip = self.unstyled(folder.name, source, spec)
            course = None if spec is None else layout(spec)[1]
            for row in made_of[source]:
                arrays["pixels"][row] = clip if row == source else [STYLES[rows[row]["style"]](frame) for frame in clip]
                if course is not None:
                    arrays["boxes"][row], arrays["poses"][row] = extent(course), course_poses(course)


def render_all(options: argparse.Namespace) -> None:
    rng, start = np.random.default_rng(options.seed), time.time()
    renderer = Renderer(options.data, options.clips, options.seed)
    plans = {
        "world": plan_world(options.world, options.styled, rng),
        "pasted": plan_pasted(options.pasted, rng),
        "real": plan_real(options.real, 3, rng),
        "stills": plan_real(options.stills, 3, rng),
    }
    for name, rows in plans.items():
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.json").write_text(json.dumps(rows))
        np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (len(rows), 1 if name == "stills" else FRAMES, SIZE, SIZE, 3)).flush()
        for array, shape in ARRAYS.items():
            np.save(folder / f"{array}.npy", np.zeros((len(rows), *shape), np.float32))
        share_out(renderer.part, options.workers, folder)
        print(f"{name}: {len(rows)} after {time.time() - start:.0f} s", flush=True)


def encode_part(worker: int, workers: int, options: argparse.Namespace) -> None:
    """Every `workers`-th batch of every set."""
    torch.set_num_threads(1)
    device = torch.device(options.device)
    vae, start = load_vae(options.vae).to(device, memory_format=torch.channels_last), time.time()
    encode = torch.compile(vae.encode, dynamic=False) if options.compile else vae.encode
    for name in SETS:
        pixels = np.load(options.out / name / "pixels.npy", mmap_mode="r")
        latents = np.load(options.out / name / "latents.npy", mmap_mode="r+")
        size = 32 if device.type != "cpu" or pixels.shape[1] == 1 else 4
        with torch.no_grad(), autocast(device):
            for first in range(worker * size, len(pixels), workers * size):
                clip = torch.from_numpy(np.array(pixels[first : first + size])).to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
                # The last batch may be shorter, and is not worth compiling for.
                latents[first : first + size] = (encode if len(clip) == size else vae.encode)(clip).half().cpu().numpy()
        latents.flush()
        print(f"worker {worker}: {name} done after {time.time() - start:.0f} s", flush=True)


def encode_all(options: argparse.Namespace) -> None:
    for name in SETS:
        count, frames = np.load(options.out / name / "pixels.npy", mmap_mode="r").shape[:2]
        shape = (count, 16, (frames - 1) // 4 + 1, SIZE // 8, SIZE // 8)
        np.lib.format.open_memmap(options.out / name / "latents.npy", "w+", np.float16, shape).flush()
    share_out(encode_part, options.workers, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("render", "encode"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--vae", type=Path, help="a bundle or a checkpoint")
    parser.add_argument("--world", type=int, default=7000)
    parser.add_argument("--styled", type=int, default=5000)
    parser.add_argument("--real", type=int, default=160)
    parser.add_argument("--stills", type=int, default=1200)
    parser.add_argument("--pasted", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.step == "render":
        render_all(options)
    else:
        encode_all(options)


if __name__ == "__main__":
    main()
