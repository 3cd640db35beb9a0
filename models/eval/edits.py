"""Rows about clips made from other clips and pictures: restyle, image to video, inpaint, morph; and the time of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from reel_tiny.data.sources import read_video
from reel_tiny.world.captions import plain_caption
from reel_tiny.world.render import FRAMES, SIZE, Spec, extent, layout, render
from reel_tiny.world.sampling import sample_spec
from reel_tiny.world.styles import STYLES
from reel_tiny.world.things import THING_NAMES

from .clips import motion_steps, psnr, square
from .fading import between, cross_fade, shows_both
from .judge import Judge, is_faded, name_clips, shows_a_thing
from .reelspace import Reelspace
from .row import Number, at_most, share, under
from .vae import held_out_paths

RESTYLES = {
    "pencil": "a pencil sketch",
    "watercolor": "a watercolor painting",
    "comic": "a comic book picture",
    "pixel": "pixel art",
    "neon": "neon lights",
    "sepia": "an old photo",
    "night": "at night",
    "thermal": "a thermal image",
}
GRID = 8
EQUAL = 0.05


def edges(clip: np.ndarray) -> np.ndarray:
    """How strong edges are near each pixel [T, H, W]. A style may draw an edge as two lines: within 1.5 pixels it is the same one."""
    greys = [cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32) for frame in clip]
    sharp = [np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) for grey in greys]
    return np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in sharp])


def edge_correlation(clip: np.ndarray, source: np.ndarray) -> float:
    """Pearson's r of edge strengths, mean over frames."""
    pairs = zip(edges(clip), edges(source), strict=True)
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


def flicker(clip: np.ndarray) -> float:
    """How much brightness goes to and fro from frame to frame, as a share of the clip's contrast."""
    grey = clip.astype(np.float32).mean(3)
    return float(np.abs(2 * grey[1:-1] - grey[:-2] - grey[2:]).mean() / grey.std())


def unstyled_specs(count: int, seed: int) -> list[Spec]:
    """Combinations that training never saw, in no style; the first ones are the same for any count."""
    rng = np.random.default_rng(seed)
    return [sample_spec(rng, held_out=True, styled=0.0) for _ in range(count)]


class Edits:
    """Rows of `count` runs each."""

    def __init__(self, reelspace: Reelspace, judge: Judge, assets: str) -> None:
        self.reelspace, self.judge, self.assets = reelspace, judge, assets

    def restyle(self, count: int, data: Path, clips: Path) -> Iterator[Number]:
        right, structure, flickers, best = [], [], [], []
        paths = held_out_paths(data, clips)
        for index in range(min(count, len(paths) * len(RESTYLES))):
            # Each clip in another style before any comes again.
            style = list(RESTYLES)[(index + index // len(paths)) % len(RESTYLES)]
            clip = square(read_video(paths[index % len(paths)], None, FRAMES), SIZE, FRAMES)
            clip = clip[: (len(clip) - 1) // 4 * 4 + 1]
            made = self.reelspace.clip("restyle", self.reelspace.source(clip), RESTYLES[style], "--seed", "1")
            right.append(name_clips(self.judge, [made])[0]["style"] == style)
            structure.append(edge_correlation(made, clip))
            flickers.append(flicker(made) / flicker(clip))
            filtered = np.stack([STYLES[style](frame) for frame in clip])
            named = name_clips(self.judge, [filtered])[0]["style"] == style
            best.append((edge_correlation(filtered, clip), flicker(filtered) / flicker(clip), named))
        yield share(f"style right, {len(right)} restyles of unseen real clips", float(np.mean(right)), 0.85, 0.95)
        yield share("the same of what the styles' own filters make: the judge's limit", float(np.mean([named for _, _, named in best])))
        yield Number("edge correlation with the source", float(np.mean(structure)), 0.5, 0.7)
        yield Number("what the styles' own filters keep of it", float(np.mean([one for one, _, _ in best])))
        yield Number("flicker against the source's own, median", float(np.median(flickers)), 1.5, 1.1, "{:.2f}x", reaches=under)
        yield Number("what the styles' own filters make of it", float(np.median([one for _, one, _ in best])), form="{:.2f}x")

    def _loss(self, made: np.ndarray, given: np.ndarray, keep: np.ndarray | None = None) -> float:
        """dB that kept frames lose against the VAE's round trip of what was given; `keep` [H, W] picks pixels."""
        trip = self.reelspace.clip("reconstruct", self.reelspace.source(given))
        if keep is not None:
            made, trip, given = (clip[:, keep][:, :, None] for clip in (made, trip, given))
        return float((psnr(trip, given) - psnr(made, given)).mean())

    def image_to_video(self, count: int) -> Iterator[Number]:
        losses, moves = [], []
        for seed, spec in enumerate(unstyled_specs(count, 11)):
            clip = render(spec, self.assets)
            made = self.reelspace.clip("animate", self.reelspace.source(clip[:1]), plain_caption(spec), "--seed", str(seed))
            losses.append(self._loss(made[:1], clip[:1]))
            moves.append(name_clips(self.judge, [made])[0]["motion"] == spec.motion)
        yield Number(f"first frame: dB below its round trip, worst of {len(losses)}", max(losses), 1, EQUAL, reaches=at_most)
        yield share("motion right", float(np.mean(moves)))

    def inpaint(self, count: int) -> Iterator[Number]:
        losses, right = [], []
        for seed, spec in enumerate(unstyled_specs(count, 12)):
            clip = render(spec, self.assets)
            other = THING_NAMES[(THING_NAMES.index(str(spec.thing)) + 37) % len(THING_NAMES)]
            wanted = plain_caption(replace(spec, thing=other))
            left, top, right_side, bottom = (SIZE * part for part in extent(layout(spec)[1]))
            x, y = int(left // GRID * GRID), int(top // GRID * GRID)
            wide, tall = int(-(-right_side // GRID) * GRID) - x, int(-(-bottom // GRID) * GRID) - y
            made = self.reelspace.clip("inpaint", self.reelspace.source(clip), wanted, "--mask", f"{x},{y},{wide},{tall}", "--seed", str(seed))
            outside = np.ones((SIZE, SIZE), bool)
            outside[y : y + tall, x : x + wide] = False
            if outside.any():
                losses.append(self._loss(made, clip, outside))
            right.append(name_clips(self.judge, [made])[0]["thing"] == other)
        yield Number(f"outside: dB below the round trip, mean of {len(losses)}", float(np.mean(losses)), 1, EQUAL, reaches=at_most)
        yield share("inside: the thing asked for", float(np.mean(right)), 0.70, 0.90)

    def morph(self, count: int) -> Iterator[Number]:
        losses, jumps, whole, faded = [], [], [], []
        for seed, spec in enumerate(unstyled_specs(count, 13)):
            other = THING_NAMES[(THING_NAMES.index(str(spec.thing)) + 61) % len(THING_NAMES)]
            ends = [render(replace(spec, motion="still", thing=thing), self.assets, frames=1) for thing in (str(spec.thing), other)]
            made = self.reelspace.clip("morph", *(self.reelspace.source(end) for end in ends), "--seed", str(seed))
            losses += [self._loss(made[:1], ends[0]), self._loss(made[-1:], ends[1])]
            steps = motion_steps(made)
            jumps.append(steps.max() / steps.mean())
            whole += [*self._shows_one_thing(made)]
            faded += [*self._shows_one_thing(cross_fade(made))]
        yield Number(f"end frames: dB below their round trips, worst of {len(losses)}", max(losses), 1, EQUAL, reaches=at_most)
        yield Number("largest step against the mean step, mean", float(np.mean(jumps)), 3, 1.5, "{:.2f}x", reaches=at_most)
        yield share("in-betweens that show one thing, not a cross-fade", float(np.mean(whole)), 0.60, 0.90)
        yield share("the same of cross-fades of their ends", float(np.mean(faded)))

    def _shows_one_thing(self, clip: np.ndarray) -> np.ndarray:
        """Of each in-between: no two pictures through each other, by what its pixels are and by the judge, and a thing that can be named."""
        looked_at = between(clip)
        frames = clip[looked_at]
        return (shows_both(clip)[looked_at] <= 0.5) & ~is_faded(self.judge, frames) & shows_a_thing(self.judge, frames)

    def time(self) -> Iterator[Number]:
        seconds = self.reelspace.seconds(3, "generate", "a chicken on a beach", "--seed", "7")
        yield Number("seconds for 25 frames of 128x128, median of 3", seconds, 6, 2.5, "{:.1f} s", reaches=at_most)
