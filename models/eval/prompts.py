"""Rows about clips made from words: prompt accuracy, wording, motion, variety, steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from reel_tiny.text.typos import misspell
from reel_tiny.world.captions import caption, plain_caption
from reel_tiny.world.motions import MOTION_NAMES
from reel_tiny.world.render import Spec, render
from reel_tiny.world.sampling import sample_spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES
from reel_tiny.world.things import THING_NAMES

from .clips import motion_steps
from .judge import ASPECTS, Judge, meant, name_clips
from .reelspace import Reelspace
from .row import Number, at_most, share, under

GOALS = {"thing": (0.80, 0.95), "scene": (0.85, 0.95), "motion": (0.80, 0.95), "style": (0.85, 0.95)}
STYLED = 0.5
MISSPELT = 0.25
ASKED = json.loads((Path(__file__).parent / "asked.json").read_text())
VARIED = ("fox", "rocket", "castle", "donut")
SEEDS = 16
# A step between frames this many times the largest in renders of the same words is a jump.
JUMP = 2.0


def held_out_specs(count: int) -> list[Spec]:
    """Combinations that training never saw, half of them in a style; the first ones are the same for any count."""
    rng = np.random.default_rng(2026)
    return [sample_spec(rng, held_out=True, styled=STYLED) for _ in range(count)]


def plain_prompts(count: int) -> list[str]:
    """The first held-out combinations as training calls them."""
    return [plain_caption(spec) for spec in held_out_specs(count)]


def said_otherwise(spec: Spec, rng: np.random.Generator) -> str:
    """Synonyms, other orders and missing parts; a quarter of them misspelt."""
    words = caption(spec, rng)
    return misspell(words, rng) if rng.random() < MISSPELT else words


class Prompts:
    """Clips of words, and the rows that judge them, most of them over the first `count` held-out combinations."""

    def __init__(self, reelspace: Reelspace, judge: Judge, assets: str) -> None:
        self.reelspace, self.judge, self.assets = reelspace, judge, assets

    def make(self, prompt: str, seed: int, *arguments: str) -> np.ndarray:
        return self.reelspace.clip("generate", prompt, "--seed", str(seed), *arguments)

    def right(self, prompts: list[str], *arguments: str) -> dict[str, float]:
        """The share named as meant, by aspect, where the prompts stand for the first held-out combinations."""
        hits = self.hits(prompts, [meant(spec) for spec in held_out_specs(len(prompts))], *arguments)
        return {name: float(np.mean(values)) for name, values in hits.items()}

    def hits(self, prompts: list[str], meanings: Iterable[dict[str, str | None]], *arguments: str) -> dict[str, list[bool]]:
        """Whether each is named as meant, by aspect, where one is."""
        hits: dict[str, list[bool]] = {name: [] for name in ASPECTS}
        for seed, (prompt, wanted) in enumerate(zip(prompts, meanings, strict=True)):
            said = name_clips(self.judge, [self.make(prompt, seed, *arguments)])[0]
            for name in ASPECTS:
                if wanted[name] is not None:
                    hits[name].append(said[name] == wanted[name])
        return hits

    def accuracy(self, count: int) -> Iterator[Number]:
        for name, right in self.right(plain_prompts(count)).items():
            yield share(f"{name} right, {count} held-out combinations", right, *GOALS[name])

    def wording(self, count: int) -> Iterator[Number]:
        rng = np.random.default_rng(7)
        plain, otherwise = self.right(plain_prompts(count)), self.right([said_otherwise(spec, rng) for spec in held_out_specs(count)])
        for name in ASPECTS:
            yield Number(f"{name}: points lost when said otherwise", 100 * (plain[name] - otherwise[name]), form="{:.1f}")
        lost = float(np.mean([100 * (plain[name] - otherwise[name]) for name in ASPECTS]))
        yield Number("points lost, mean of the four", lost, 10, 3, "{:.1f}", reaches=under)

    def asked(self) -> Iterator[Number]:
        """Prompts written by hand in people's own words (`asked.json`), each aspect over those that speak of it."""
        for name, right in self.hits([one["prompt"] for one in ASKED], ASKED).items():
            yield share(f"{name} right, {len(right)} prompts in people's own words", float(np.mean(right)))

    def motion(self, count: int) -> Iterator[Number]:
        alike, jumps, steps = 0, 0, 0
        for seed, spec in enumerate(held_out_specs(count)):
            made = motion_steps(self.make(plain_caption(spec), seed))
            known = [motion_steps(render(replace(spec, seed=other), self.assets)) for other in (1, 2, 3)]
            ratio = made.mean() / np.mean(known)
            alike += 0.5 <= ratio <= 2
            jumps += int((made > JUMP * np.max(known)).sum())
            steps += len(made)
        yield share("clips with motion energy within 2x of renders", alike / count, 0.90, 0.99)
        yield Number("frames that jump", 100 * jumps / steps, 1, 0, "{:.2f} %", reaches=under)

    def variety(self) -> Iterator[Number]:
        ratios = []
        for thing in VARIED:
            spec = Spec(thing, "meadow", "bouncing", "none", 0)
            made = [self.make(plain_caption(spec), seed) for seed in range(SEEDS)]
            known = [render(replace(spec, seed=seed), self.assets) for seed in range(SEEDS)]
            ratios.append(spread(made) / spread(known))
        yield Number(f"distance of {SEEDS} seeds against {SEEDS} renders, {len(VARIED)} prompts", float(np.mean(ratios)), 0.6, 0.9)

    def steps(self, count: int) -> Iterator[Number]:
        def mean(steps: int) -> float:
            return float(np.mean(list(self.right(plain_prompts(count), "--steps", str(steps)).values())))

        full = mean(30)
        yield share("mean accuracy at 30 steps", full)
        for steps, least, aim in ((8, 5, None), (4, None, 2)):
            yield Number(f"points lost at {steps} steps", 100 * (full - mean(steps)), least, aim, "{:.1f}", reaches=at_most)


def vocabulary() -> Iterator[Number]:
    """What the world knows; a plain backdrop and the picture as it is are not counted."""
    counts = (("things", len(THING_NAMES), 120, 400), ("scenes", len(SCENE_NAMES) - 1, 16, 40))
    for what, count, least, aim in (*counts, ("motions", len(MOTION_NAMES), 8, 12), ("styles", len(STYLE_NAMES) - 1, 8, 12)):
        yield Number(what, count, least, aim, "{:.0f}")


def spread(clips: list[np.ndarray]) -> float:
    """The mean distance of two clips, over all pairs, in grey levels at an eighth of the size."""
    small = [clip.reshape(len(clip), clip.shape[1] // 8, 8, clip.shape[2] // 8, 8, 3).mean((2, 4)) for clip in clips]
    pairs = [(a, b) for index, a in enumerate(small) for b in small[index + 1 :]]
    return float(np.mean([np.sqrt(np.square(a - b).mean()) for a, b in pairs]))
