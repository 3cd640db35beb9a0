"""Draws what clips show. One thing-scene pair in twelve is held out of training, to judge new combinations by."""

from __future__ import annotations

import numpy as np

from .motions import MOTION_NAMES
from .render import Spec
from .scenes import SCENE_NAMES
from .styles import STYLE_NAMES
from .things import THING_NAMES

# Pairs that the samples and the demo ask for are always trained.
ALWAYS_TRAINED = {("chicken", "beach"), ("fox", "snow"), ("rocket", "space"), ("rocket", "night sky"), ("cat", "sunset")}


def is_held_out(thing: str | None, scene: str) -> bool:
    """Whether this thing is never seen on this scene in training."""
    if thing is None or scene == "plain" or (thing, scene) in ALWAYS_TRAINED:
        return False
    return (THING_NAMES.index(thing) * 5 + SCENE_NAMES.index(scene) * 7) % 12 == 0


def sample_spec(rng: np.random.Generator, held_out: bool | None = False, styled: float = 0.2) -> Spec:
    """A random clip; `held_out` picks which side of the split (None: either), `styled` the share that has a style."""
    while True:
        thing = None if rng.random() < 0.06 else THING_NAMES[int(rng.integers(len(THING_NAMES)))]
        scene = SCENE_NAMES[int(rng.integers(len(SCENE_NAMES)))]
        if held_out is None or is_held_out(thing, scene) == held_out:
            break
    motion = "still" if thing is None or rng.random() < 0.15 else MOTION_NAMES[int(rng.integers(len(MOTION_NAMES)))]
    style = STYLE_NAMES[int(rng.integers(1, len(STYLE_NAMES)))] if rng.random() < styled else "none"
    return Spec(thing, scene, motion, style, int(rng.integers(2**31)))
