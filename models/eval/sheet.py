"""Draws contact sheets of a bundle: prompts, restyles of two real clips, morphs, chosen by the order of seeds.

    python -m eval.sheet --bundle reel-tiny --data DATA --clips CLIPS --out FOLDER [--prompts 64] [--sheets prompts,restyles,morphs]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from reel_tiny.data.sources import read_video
from reel_tiny.world.things import ASSETS
from reel_tiny.world.captions import plain_caption
from reel_tiny.world.render import FRAMES, SIZE, Spec, render

from .clips import square, strip, write_picture
from .edits import RESTYLES
from .prompts import held_out_specs
from .reelspace import ROOT, Reelspace
from .vae import held_out_paths

# What users are shown comes first; then combinations that training never saw.
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
MORPHS = (("pumpkin", "fox"), ("star", "sun"), ("car", "train"), ("cat", "tiger"), ("apple", "heart"), ("ghost", "astronaut"))


def prompt_sheet(reelspace: Reelspace, count: int, columns: int) -> np.ndarray:
    """`count` prompts, seeds in order, in two columns of clips where there are more than twenty."""
    prompts = [*PROMPTS, *(plain_caption(spec) for spec in held_out_specs(count))][:count]
    rows = [strip(reelspace.clip("generate", prompt, "--seed", str(seed)), columns) for seed, prompt in enumerate(prompts)]
    if count <= len(PROMPTS):
        return np.concatenate(rows)
    half = (count + 1) // 2
    rows += [np.zeros_like(rows[0])] * (2 * half - count)
    return np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1)


def restyle_sheet(reelspace: Reelspace, paths: list[Path], columns: int) -> np.ndarray:
    """Each recording in every style, the recordings side by side."""
    sides = []
    for path in paths:
        clip = square(read_video(path, None, FRAMES), SIZE, FRAMES)
        source = reelspace.source(clip)
        made = [reelspace.clip("restyle", source, prompt, "--seed", "1") for prompt in RESTYLES.values()]
        sides.append(np.concatenate([strip(one, columns) for one in (clip, *made)]))
    return np.concatenate(sides, 1)


def morph_sheet(reelspace: Reelspace, assets: str, columns: int) -> np.ndarray:
    """Between pictures of things on a meadow."""
    rows = []
    for seed, pair in enumerate(MORPHS):
        ends = [reelspace.source(render(Spec(thing, "meadow", "still", "none", 1), assets, frames=1)) for thing in pair]
        rows.append(strip(reelspace.clip("morph", *ends, "--seed", str(seed)), columns))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/reel-tiny")
    for name in ("data", "clips", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--sheets", default="prompts,restyles,morphs")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--columns", type=int, default=6)
    options = parser.parse_args()
    reelspace = Reelspace(options.bundle, options.out)
    tree = next(path for path in held_out_paths(options.data, options.clips) if path.stem == "tree")
    drawn = {
        "prompts": lambda: prompt_sheet(reelspace, options.prompts, options.columns),
        "restyles": lambda: restyle_sheet(reelspace, [ROOT / "samples/media/cup.mp4", tree], options.columns),
        "morphs": lambda: morph_sheet(reelspace, str(options.data / ASSETS), options.columns),
    }
    for name in options.sheets.split(","):
        write_picture(drawn[name](), options.out / f"{name}.jpg")


if __name__ == "__main__":
    main()
