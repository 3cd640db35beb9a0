"""Draws training samples: what is to be made, what is given for it, and the words.

The tasks are text alone, some frames kept, a part of the picture kept, and restyling a source. In each, `keep` marks
positions whose latents are given as they are to come out, `follow` marks those whose structure is to be followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..world.captions import caption, restyle_caption
from ..world.render import Spec
from .cache import SETS
from .planner import MOMENTS, POSE

Rng = np.random.Generator
# Styles that leave most of a picture as it is are learnt last: they are drawn three times as often.
FAINT = ("comic", "pixel")
# Share of single frames of which nothing is kept: made from text alone, or restyles.
FREE = 0.88


def draws(style: str) -> int:
    """How many times a clip in that style is drawn for each time that another is."""
    return 3 if style in FAINT else 1


@dataclass
class Sample:
    """One sample: target and condition [16, t, h, w], mask [2, t, h, w] (keep, follow), words, index of the first frame.

    `poses` [t, 4, 5] says where the thing is that the words name, if they do (see planner.py). `taught`: where a network is learnt from another,
    it is what that one makes that counts.
    """

    target: np.ndarray
    condition: np.ndarray
    mask: np.ndarray
    text: str
    first_frame: int
    poses: np.ndarray | None = None
    taught: bool = False

    @property
    def guided(self) -> bool:
        """Whether it is by guidance that its words are to count: where there are some, and no source is followed."""
        return self.text != "" and not self.mask[1].any()


class Batch(NamedTuple):
    """Samples side by side, target and condition [B, 16, t, h, w] in float16; words as `tokens` and `attention` [B, 32].

    Where nothing is known of `poses` [B, t, 4, 5], `posed` [B] is 0. `taught` and `guided` [B], bool: of the samples.
    """

    target: Tensor
    condition: Tensor
    mask: Tensor
    tokens: Tensor
    attention: Tensor
    first_frame: Tensor
    poses: Tensor
    posed: Tensor
    taught: Tensor
    guided: Tensor

    def on(self, device: torch.device) -> Batch:
        """All of it there, numbers of 16 bits as such of 32."""
        moved = [x.to(device, non_blocking=True) for x in self]
        return Batch(*(x.float() if x.dtype == torch.float16 else x for x in moved))


class Tasks:
    """Samples from the encoded sets of a cache folder (see cache.py). No sample in the styles `afresh` is taught, nor any that follows a source.

    `restyled`: the share of single frames that are restyles, FREE at most.
    """

    def __init__(self, cache: Path, tokenizer: Tokenizer, seed: int, afresh: Sequence[str] = (), restyled: float = 0.43) -> None:
        self.latents, self.boxes, self.poses = (
            {name: np.load(cache / name / f"{array}.npy", mmap_mode="r") for name in SETS} for array in ("latents", "boxes", "poses")
        )
        self.rows = {name: json.loads((cache / name / "rows.json").read_text()) for name in SETS}
        self.styled = {
            name: [row for row, entry in enumerate(rows) if entry["source"] != row for _ in range(draws(entry["style"]))]
            for name, rows in self.rows.items()
        }
        self.tokenizer, self.afresh, self.restyled = tokenizer, afresh, restyled
        self.rng = np.random.default_rng(seed)

    def _poses(self, name: str, row: int, first: int, count: int, spec: Spec | None, text: str) -> np.ndarray | None:
        return None if spec is None or spec.thing is None or text == "" else self.poses[name][row, first : first + count]

    def _spec(self, name: str, row: int) -> Spec | None:
        entry = self.rows[name][row]["spec"]
        return None if entry is None else Spec(**entry)

    def _taught(self, name: str, row: int) -> bool:
        return self.rows[name][row]["style"] not in self.afresh

    def _frames(self, name: str, row: int, first: int, count: int) -> np.ndarray:
        return self.latents[name][row, :, first : first + count]

    def _any_row(self, name: str) -> int:
        return int(self.rng.integers(len(self.rows[name])))

    def _restyle(self, name: str, first: int, count: int) -> Sample:
        rng = self.rng
        row = self.styled[name][int(rng.integers(len(self.styled[name])))]
        entry = self.rows[name][row]
        source = self._frames(name, entry["source"], first, count)
        target = self._frames(name, row, first, count)
        if rng.random() < 0.4:
            # Long clips are restyled in windows, which start anywhere and may hold a cut.
            turn = int(rng.integers(count))
            source, target, first = np.roll(source, turn, 1), np.roll(target, turn, 1), int(rng.integers(7)) if count == 1 else 0
        mask = np.zeros((2, *source.shape[1:]), np.float32)
        mask[1] = 1
        if rng.random() < 0.1:
            # No words: the source as it is. Guidance then pushes from there towards the style.
            return Sample(source, source, mask, "", first)
        return Sample(target, source, mask, restyle_caption(self._spec(name, entry["source"]), entry["style"], rng), first)

    def _text(self, first: int, count: int) -> Sample:
        name = "world"
        row = self._any_row(name)
        target = self._frames(name, row, first, count)
        spec = self._spec(name, row)
        text = "" if spec is None or self.rng.random() < 0.1 else caption(spec, self.rng)
        mask = np.zeros((2, *target.shape[1:]), np.float32)
        return Sample(target, np.zeros_like(target), mask, text, first, self._poses(name, row, first, count, spec, text), self._taught(name, row))

    def _hole(self, name: str, row: int, shape: tuple[int, ...]) -> np.ndarray:
        """1 where the picture is kept: around the thing, or around any box."""
        rng, (_, height, width) = self.rng, shape
        if rng.random() < 0.65:
            left, top, right, bottom = self.boxes[name][row]
            slack = rng.uniform(0.0, 0.1, 4)
            x0, y0, x1, y1 = left - slack[0], top - slack[1], right + slack[2], bottom + slack[3]
        else:
            wide, tall = rng.uniform(0.3, 0.9, 2)
            x0, y0 = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
            x1, y1 = x0 + wide, y0 + tall
        keep = np.ones(shape, np.float32)
        rows = slice(max(0, int(y0 * height)), min(height, int(np.ceil(y1 * height))))
        columns = slice(max(0, int(x0 * width)), min(width, int(np.ceil(x1 * width))))
        keep[:, rows, columns] = 0
        return 1 - keep if rng.random() < 0.1 else keep

    def _keep(self, first: int, count: int, kind: str) -> Sample:
        rng = self.rng
        draw = rng.random()
        name = "pasted" if draw < 0.35 else "real" if draw < 0.45 and kind != "mask" else "world"
        row = self._any_row(name)
        target = self._frames(name, row, first, count)
        spec = self._spec(name, row)
        mask = np.zeros((2, *target.shape[1:]), np.float32)
        if kind == "mask":
            mask[0] = self._hole(name, row, target.shape[1:])
        elif kind == "first":
            # One latent frame is a picture; several are the end of a clip that goes on.
            mask[0, : 1 if rng.random() < 0.75 else int(rng.integers(2, count - 1))] = 1
        else:
            mask[0, 0] = mask[0, -1] = 1
        text = ""
        if spec is not None and rng.random() < 0.9:
            # The scene is in view already, so the words may leave it out.
            text = caption(replace(spec, scene="plain") if spec.thing is not None and rng.random() < 0.4 else spec, rng)
        return Sample(target, target, mask, text, first, self._poses(name, row, first, count, spec, text), self._taught(name, row))

    def picture(self) -> Sample:
        """One latent frame from anywhere in a clip."""
        rng, draw = self.rng, self.rng.random()
        first = int(rng.integers(7))
        if draw < FREE - self.restyled:
            return self._text(first, 1)
        if draw < FREE:
            kind = rng.random()
            if kind < 0.5:
                return self._restyle("stills", 0, 1)
            return self._restyle("real" if kind < 0.65 else "world", first, 1)
        return self._keep(first, 1, "mask")

    def clip(self) -> Sample:
        """A whole clip of 7 latent frames."""
        draw = self.rng.random()
        if draw < 0.44:
            return self._text(0, 7)
        if draw < 0.57:
            return self._keep(0, 7, "first")
        if draw < 0.62:
            return self._keep(0, 7, "both")
        if draw < 0.72:
            return self._keep(0, 7, "mask")
        return self._restyle("real" if self.rng.random() < 0.55 else "world", 0, 7)

    def batch(self, size: int, clips: bool) -> Batch:
        samples = [self.clip() if clips else self.picture() for _ in range(size)]
        words = self.tokenizer.encode_batch([one.text for one in samples])
        nowhere = np.zeros((samples[0].target.shape[1], MOMENTS, POSE), np.float32)

        def stack(arrays: Iterable[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(list(arrays)))

        return Batch(
            stack(one.target for one in samples),
            stack(one.condition for one in samples),
            stack(one.mask for one in samples),
            torch.tensor([one.ids for one in words]),
            torch.tensor([one.attention_mask for one in words]),
            torch.tensor([one.first_frame for one in samples]),
            stack(nowhere if one.poses is None else one.poses for one in samples),
            torch.tensor([float(one.poses is not None) for one in samples]),
            torch.tensor([one.taught for one in samples]),
            torch.tensor([one.guided for one in samples]),
        )
