"""Renders a pool of training clips into one .npy file, so that training never waits for data.

    python -m reel_tiny.data.pool --data DIR --clips DIR --out pool.npy --count 6000 --frames 16 --size 80 --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .render import ClipRenderer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="uint8 [count, frames, size, size, 3]")
    for name in ("count", "frames", "size", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    a = parser.parse_args()
    renderer = ClipRenderer(a.data, a.clips, a.seed)
    partial = a.out.with_suffix(".partial.npy")
    pool = np.lib.format.open_memmap(partial, "w+", np.uint8, (a.count, a.frames, a.size, a.size, 3))
    for i in range(a.count):
        pool[i] = renderer.clip(a.frames, a.size)
    pool.flush()
    partial.rename(a.out)


if __name__ == "__main__":
    main()
