"""Renders a pool of training clips into one .npy file, so that training never waits for data.

    python -m reel_tiny.data.pool --data DIR --clips DIR --out pool.npy --count 6000 --frames 16 --size 80 --seed 1

The file is there once all of it is rendered. With more --rounds it is rendered over again then, other clips in the place of each,
while a training reads it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..workers import share_out
from .render import ClipRenderer


# Drawn pictures of each kind that the clips of one round show, over all workers.
DRAWN = 320


def render_part(worker: int, workers: int, renderer: ClipRenderer, path: Path, *seed: int) -> None:
    """Every `workers`-th clip of the pool."""
    pool = np.load(path, mmap_mode="r+")
    renderer.begin([*seed, worker], DRAWN // workers)
    for row in range(worker, len(pool), workers):
        pool[row] = renderer.clip(*pool.shape[1:3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="uint8 [count, frames, size, size, 3]; at most 25 frames of 128 pixels")
    for name in ("count", "frames", "size", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    partial = a.out.with_suffix(".partial.npy")
    np.lib.format.open_memmap(partial, "w+", np.uint8, (a.count, a.frames, a.size, a.size, 3)).flush()
    renderer = ClipRenderer(a.data, a.clips, a.seed, drawn_count=0)
    for number in range(a.rounds):
        share_out(render_part, a.workers, renderer, a.out if number else partial, a.seed, number)
        if number == 0:
            partial.rename(a.out)


if __name__ == "__main__":
    main()
