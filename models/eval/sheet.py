"""Draws contact sheets of a trained denoiser: prompts, restyles of real clips, kept frames and masks.

    python -m eval.sheet --denoiser CKPT --text CKPT --vae CKPT --tokenizer JSON --clip REAL.mp4 --out FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from reel_tiny.data.sources import read_video
from reel_tiny.denoiser.sample import Models, load_models, sample, strip, to_frames, to_latents

PROMPTS = (
    "a chicken on a beach",
    "a fox in the snow",
    "a rocket flying in the night sky",
    "a cake",
    "a cat at sunset",
    "a panda spinning in a forest",
    "a red car driving to the right in a city",
    "a robot bouncing in a meadow",
    "a fish moving left under water",
    "a frog in the desert",
    "a ghost rising in space",
    "a penguin growing on a plain background",
    "a pencil sketch of a dog in a forest",
    "a duck on a meadow, watercolor",
    "pixel art of a dinosaur in the desert",
    "a neon butterfly in the night sky",
    "a snowman falling in the snow",
    "a sunflower in a garden, comic style",
    "an octopus shrinking in the sea",
    "a forest",
)
RESTYLES = ("a pencil sketch", "a watercolor painting", "a comic book picture", "pixel art", "neon lights", "an old photo", "at night", "a thermal image")


def square(frames: list[np.ndarray], side: int, count: int) -> np.ndarray:
    """`count` frames of a clip, cut to the middle square, uint8 [count, side, side, 3]."""
    frames = frames[:count]
    edge = min(frames[0].shape[:2])
    y, x = (frames[0].shape[0] - edge) // 2, (frames[0].shape[1] - edge) // 2
    return np.stack([cv2.resize(f[y : y + edge, x : x + edge], (side, side), interpolation=cv2.INTER_AREA) for f in frames])


def prompt_sheet(models: Models, prompts: tuple[str, ...], columns: int, **settings) -> np.ndarray:
    rows = []
    for seed, prompt in enumerate(prompts):
        clip = to_frames(models, sample(models, [prompt], [seed], **settings))[0]
        rows.append(strip(clip, columns))
    return np.concatenate(rows)


def restyle_sheet(models: Models, clip: np.ndarray, columns: int, **settings) -> np.ndarray:
    source = to_latents(models, clip)
    mask = torch.zeros(1, 2, *source.shape[2:])
    mask[:, 1] = 1
    rows = [strip(clip, columns)]
    for prompt in RESTYLES:
        made = sample(models, [prompt], [1], frames=source.shape[2], condition=source, mask=mask, size=tuple(source.shape[3:]), **settings)
        rows.append(strip(to_frames(models, made)[0], columns))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("denoiser", "text", "vae", "tokenizer", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clip", help="a real clip to restyle")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--restyle-guidance", type=float, default=1.5)
    parser.add_argument("--frames", type=int, default=7, help="latent frames")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    models = load_models(options.denoiser, options.text, options.tokenizer, options.vae)
    settings = {"steps": options.steps, "shift": options.shift, "guidance": options.guidance}
    columns = min(options.columns, 4 * options.frames - 3)
    if options.prompts:
        sheet = prompt_sheet(models, PROMPTS[: options.prompts], columns, frames=options.frames, **settings)
        Image.fromarray(sheet).save(out / "prompts.png")
    if options.clip:
        clip = square(read_video(Path(options.clip)), 128, 4 * options.frames - 3)
        settings["guidance"] = options.restyle_guidance
        Image.fromarray(restyle_sheet(models, clip, columns, **settings)).save(out / "restyles.png")


if __name__ == "__main__":
    main()
