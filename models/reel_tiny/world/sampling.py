"""Draws what clips show. Some combinations are held out of training, to judge new ones by.

Held out are one thing-scene pair in twelve, and one combination of thing, motion and style in ten.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from .motions import MOTION_NAMES
from .render import Spec
from .scenes import SCENE_NAMES
from .styles import STYLE_NAMES
from .things import THING_NAMES

# What the samples and the demo ask for is always trained.
ALWAYS_TRAINED = {("chicken", "beach"), ("fox", "snow"), ("rocket", "space"), ("rocket", "night sky"), ("cat", "sunset")}
ALWAYS_TRAINED_THINGS = {thing for thing, _ in ALWAYS_TRAINED} | {"pumpkin"}


def is_held_out_pair(thing: str | None, scene: str) -> bool:
    """Whether this thing is never seen on this scene in training."""
    if thing is None or scene == "plain" or (thing, scene) in ALWAYS_TRAINED:
        return False
    return (THING_NAMES.index(thing) * 5 + SCENE_NAMES.index(scene) * 7) % 12 == 0


def is_held_out_move(thing: str | None, motion: str, style: str) -> bool:
    """Whether this thing is never seen moving in this way in this style in training."""
    if thing is None or motion == "still" or (style == "none" and thing in ALWAYS_TRAINED_THINGS):
        return False
    return zlib.crc32(f"{thing}/{motion}/{style}".encode()) % 10 == 0


def is_held_out(spec: Spec) -> bool:
    """Whether training never sees this combination."""
    return is_held_out_pair(spec.thing, spec.scene) or is_held_out_move(spec.thing, spec.motion, spec.style)


def sample_spec(rng: np.random.Generator, held_out: bool | None = False, styled: float = 0.2) -> Spec:
    """A random clip; `held_out` picks which side of the split (None: either), `styled` the share that has a style."""
    while True:
        thing = None if rng.random() < 0.06 else THING_NAMES[int(rng.integers(len(THING_NAMES)))]
        scene = SCENE_NAMES[int(rng.integers(len(SCENE_NAMES)))]
        motion = "still" if thing is None or rng.random() < 0.15 else MOTION_NAMES[int(rng.integers(len(MOTION_NAMES)))]
        style = STYLE_NAMES[int(rng.integers(1, len(STYLE_NAMES)))] if rng.random() < styled else "none"
        spec = Spec(thing, scene, motion, style, int(rng.integers(2**31)))
        if held_out is None or is_held_out(spec) == held_out:
            return spec


def _rounds(names: tuple[str, ...], rng: np.random.Generator) -> Iterator[str]:
    """All names in random order, again and again."""
    while True:
        yield from (names[i] for i in rng.permutation(len(names)))


def training_specs(count: int, rng: np.random.Generator, alone: int = 20) -> list[Spec]:
    """Unstyled clips for training: each thing as often as the others, each on every scene and in every motion as evenly.

    Plain backdrops and standing still come twice as often as the rest, as short prompts mean them; one clip in `alone` is
    a scene with nothing on it (0: none).
    """
    things = _rounds(THING_NAMES, rng)
    empty = _rounds(SCENE_NAMES, rng)
    scenes = {thing: _rounds((*SCENE_NAMES, "plain"), rng) for thing in THING_NAMES}
    motions = {thing: _rounds((*MOTION_NAMES, "still"), rng) for thing in THING_NAMES}
    specs = []
    for index in range(count):
        seed = int(rng.integers(2**31))
        if alone > 0 and index % alone == alone - 1:
            specs.append(Spec(None, next(empty), "still", "none", seed))
            continue
        thing = next(things)
        scene = next(name for name in scenes[thing] if not is_held_out_pair(thing, name))
        motion = next(name for name in motions[thing] if not is_held_out_move(thing, name, "none"))
        specs.append(Spec(thing, scene, motion, "none", seed))
    return specs


def training_styles(specs: list[Spec]) -> list[str]:
    """A style for each, none of which is held out: each thing goes through all styles in turn."""
    styles = STYLE_NAMES[1:]
    turns = {thing: index for index, thing in enumerate((None, *THING_NAMES))}
    chosen = []
    for spec in specs:
        turn = turns[spec.thing]
        while is_held_out_move(spec.thing, spec.motion, styles[turn % len(styles)]):
            turn += 1
        turns[spec.thing] = turn + 1
        chosen.append(styles[turn % len(styles)])
    return chosen
