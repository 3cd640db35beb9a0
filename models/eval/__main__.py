"""Prints the table of what reel-tiny reaches, row by row: the number, the goal, and whether it is met.

    python -m eval --bundle reel-tiny --data DATA --clips CLIPS [--rows fidelity,accuracy] [--runs 100] [--out FOLDER]

Runs the bundle: its graphs in onnxruntime, and the built reelspace command. Clips that were made are kept in --out, so
that a run goes on where it was cut. The judge is eval/judge.pt (see eval/judge.py); DATA and CLIPS are those of
reel_tiny.data.prepare.
"""

from __future__ import annotations

import argparse
from functools import cached_property
from pathlib import Path

import cv2
import torch

from reel_tiny.world.things import ASSETS

from .edits import Edits
from .judge import WEIGHTS, load_judge
from .prompts import Prompts, vocabulary
from .reelspace import ROOT, Reelspace
from .row import Row, print_rows
from .vae_rows import VaeRows


class Parts:
    """What rows are measured with, each made when a row first needs it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @cached_property
    def vae(self) -> VaeRows:
        return VaeRows(self.options.bundle, self.options.data, self.options.clips, self.options.threads)

    @cached_property
    def reelspace(self) -> Reelspace:
        return Reelspace(self.options.bundle, self.options.out)

    @cached_property
    def prompts(self) -> Prompts:
        return Prompts(self.reelspace, load_judge(self.options.judge), str(self.options.data / ASSETS))

    @cached_property
    def edits(self) -> Edits:
        return Edits(self.reelspace, load_judge(self.options.judge), str(self.options.data / ASSETS))


def all_rows(parts: Parts) -> list[Row]:
    options = parts.options

    def runs(usual: int) -> int:
        return usual if options.runs is None else options.runs

    return [
        Row("fidelity", lambda: parts.vae.fidelity()),
        Row("worst", lambda: parts.vae.worst()),
        Row("sizes", lambda: parts.vae.sizes(parts.reelspace)),
        Row("speed", lambda: parts.vae.speed()),
        Row("latents", lambda: parts.vae.latents()),
        Row("accuracy", lambda: parts.prompts.accuracy(runs(500))),
        Row("vocabulary", vocabulary),
        Row("wording", lambda: parts.prompts.wording(runs(100))),
        Row("asked", lambda: parts.prompts.asked()),
        Row("motion", lambda: parts.prompts.motion(runs(500))),
        Row("variety", lambda: parts.prompts.variety()),
        Row("restyle", lambda: parts.edits.restyle(runs(48), options.data, options.clips)),
        Row("image", lambda: parts.edits.image_to_video(runs(48))),
        Row("inpaint", lambda: parts.edits.inpaint(runs(12))),
        Row("morph", lambda: parts.edits.morph(runs(12))),
        Row("steps", lambda: parts.prompts.steps(runs(40))),
        Row("time", lambda: parts.edits.time()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/reel-tiny")
    parser.add_argument("--data", type=Path, default=ROOT / "models/scratch/data")
    parser.add_argument("--clips", type=Path, default=ROOT / "models/scratch/clips")
    parser.add_argument("--judge", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=ROOT / "models/scratch/eval")
    parser.add_argument("--rows", help="names, with commas between (default: all)")
    parser.add_argument("--runs", type=int, help="clips, or pairs of clips, that each row is measured by whose number of them is not fixed (default: as many as in the model card)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    rows = all_rows(Parts(options))
    if options.rows is not None:
        wanted = options.rows.split(",")
        unknown = [key for key in wanted if key not in [row.key for row in rows]]
        if unknown:
            parser.error(f"Expected --rows to be among {', '.join(row.key for row in rows)}, got {', '.join(unknown)}.")
        rows = [row for row in rows if row.key in wanted]
    print_rows(rows)


if __name__ == "__main__":
    main()
