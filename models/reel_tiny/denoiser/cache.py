"""Prepares what the denoiser is trained on: renders clips to uint8 once, then encodes them with a bundle's VAE.

    python -m reel_tiny.denoiser.cache render --data DATA --clips CLIPS --out CACHE
    python -m reel_tiny.denoiser.cache encode --bundle reel-tiny --out CACHE

CACHE/world: clips of the small world, and for some of them the same clip in a style. CACHE/real and CACHE/stills: crops of
real videos and of photos, each beside itself in styles. CACHE/pasted: things moving over photos and real videos. Each set
is `pixels.npy` uint8 [N, T, 128, 128, 3], `rows.json` (spec or style, the row of the unstyled source, where the thing gets
to) and, once encoded, `latents.npy` float16 [N, 16, t, 16, 16].
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ..data.sources import load_photos, load_training_clips
from ..weights import load_vae
from ..world.render import FRAMES, SIZE, Spec, extent, layout, paste_over, render
from ..world.sampling import training_specs, training_styles
from ..world.styles import STYLE_NAMES, STYLES
from ..world.things import ASSETS

Rng = np.random.Generator
SETS = ("world", "real", "pasted", "stills")


def _create(folder: Path, count: int, frames: int) -> np.memmap:
    folder.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, frames, SIZE, SIZE, 3))


def _row(spec: Spec, source: int) -> dict[str, object]:
    return {"spec": asdict(spec), "source": source, "box": extent(layout(spec)[1])}


def render_world_part(worker: int, workers: int, assets: str, folder: Path, plain: int) -> None:
    """Every `workers`-th unstyled clip, and it once more in a style where it has one."""
    specs = [Spec(**entry["spec"]) for entry in json.loads((folder / "rows.json").read_text())]
    pixels = np.load(folder / "pixels.npy", mmap_mode="r+")
    for row in range(worker, plain, workers):
        pixels[row] = render(specs[row], assets)
        if plain + row < len(specs):
            style = STYLES[specs[plain + row].style]
            pixels[plain + row] = [style(frame) for frame in pixels[row]]


def render_world(assets: str, folder: Path, plain: int, styled: int, workers: int, rng: Rng) -> None:
    """`plain` unstyled clips; the first `styled` of them once more, in a style."""
    specs = training_specs(plain, rng)
    _create(folder, plain + styled, FRAMES).flush()
    rows = [_row(spec, row) for row, spec in enumerate(specs)]
    rows += [_row(replace(specs[row], style=style), row) for row, style in enumerate(training_styles(specs[:styled]))]
    (folder / "rows.json").write_text(json.dumps(rows))
    share_out(render_world_part, workers, assets, folder, plain)


def share_out(part: Callable[..., None], workers: int, *arguments: object) -> None:
    """Runs `part(worker, workers, *arguments)` in as many processes."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=part, args=(worker, workers, *arguments)) for worker in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"Expected every worker to end well, got exit code {process.exitcode}.")


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


def _render_real(folder: Path, draw, count: int, styles: int, frames: int, rng: Rng) -> None:  # noqa: ANN001
    """`count` sources from `draw(rng)`, each followed by itself in `styles` styles."""
    pixels = _create(folder, count * (1 + styles), frames)
    rows = []
    for index in range(count):
        source = index * (1 + styles)
        pixels[source] = draw(rng)
        names = rng.permutation(np.array(STYLE_NAMES[1:]))[:styles]
        for row, style in enumerate(("none", *names), source):
            rows.append({"spec": None, "style": str(style), "source": source})
            if row > source:
                pixels[row] = [STYLES[str(style)](frame) for frame in pixels[source]]
    (folder / "rows.json").write_text(json.dumps(rows))


def render_all(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(options.seed)
    out, start = Path(options.out), time.time()
    photos = load_photos(Path(options.data))
    videos = load_training_clips(Path(options.clips))

    def draw_clip(rng: Rng) -> np.ndarray:
        video = videos[int(rng.integers(len(videos)))]
        step = int(rng.integers(1, 3)) if len(video) > 2 * FRAMES else 1
        first = int(rng.integers(max(1, len(video) - step * FRAMES + 1)))
        taken = video[first : first + step * FRAMES : step]
        taken = taken + [taken[-1]] * (FRAMES - len(taken))
        return _recolour(_crop(taken, rng), rng)

    def draw_still(rng: Rng) -> np.ndarray:
        if rng.random() < 0.7:
            picture = photos[int(rng.integers(len(photos)))]
        else:
            video = videos[int(rng.integers(len(videos)))]
            picture = video[int(rng.integers(len(video)))]
        return _recolour(_crop([picture], rng), rng)

    assets = str(Path(options.data) / ASSETS)
    pasted, rows = _create(out / "pasted", options.pasted, FRAMES), []
    for row, drawn in enumerate(training_specs(options.pasted, rng, alone=0)):
        spec = replace(drawn, scene="plain")
        backdrop = draw_clip(rng) if row % 2 else np.repeat(draw_still(rng), FRAMES, 0)
        pasted[row] = paste_over(backdrop, str(spec.thing), layout(spec)[1], assets)
        rows.append(_row(spec, row))
    (out / "pasted/rows.json").write_text(json.dumps(rows))
    _render_real(out / "stills", draw_still, options.stills, 3, 1, rng)
    _render_real(out / "real", draw_clip, options.real, 2, FRAMES, rng)
    print(f"real: {time.time() - start:.0f} s", flush=True)
    render_world(assets, out / "world", options.world, options.styled, options.workers, rng)
    print(f"world: {time.time() - start:.0f} s", flush=True)


def create_latents(folder: Path) -> None:
    count, frames = np.load(folder / "pixels.npy", mmap_mode="r").shape[:2]
    shape = (count, 16, (frames - 1) // 4 + 1, SIZE // 8, SIZE // 8)
    np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, shape).flush()


def encode_part(worker: int, workers: int, bundle: Path, out: Path) -> None:
    """Every `workers`-th batch of every set."""
    torch.set_num_threads(1)
    vae, start = load_vae(bundle).to(memory_format=torch.channels_last), time.time()
    encode = torch.compile(vae.encode, dynamic=False)
    for name in SETS:
        pixels = np.load(out / name / "pixels.npy", mmap_mode="r")
        latents = np.load(out / name / "latents.npy", mmap_mode="r+")
        size = 32 if pixels.shape[1] == 1 else 4
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for first in range(worker * size, len(pixels), workers * size):
                clip = torch.from_numpy(np.array(pixels[first : first + size])).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
                # The last batch may be shorter, and is not worth compiling for.
                latents[first : first + size] = (encode if len(clip) == size else vae.encode)(clip).float().numpy()
        latents.flush()
        print(f"worker {worker}: {name} done after {time.time() - start:.0f} s", flush=True)


def encode_all(bundle: Path, out: Path, workers: int) -> None:
    for name in SETS:
        create_latents(out / name)
    share_out(encode_part, workers, bundle, out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("render", "encode"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--data")
    parser.add_argument("--clips")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--world", type=int, default=6400)
    parser.add_argument("--styled", type=int, default=2000)
    parser.add_argument("--real", type=int, default=120)
    parser.add_argument("--stills", type=int, default=1000)
    parser.add_argument("--pasted", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.step == "render":
        render_all(options)
        return
    encode_all(options.bundle, Path(options.out), options.workers)


if __name__ == "__main__":
    main()
