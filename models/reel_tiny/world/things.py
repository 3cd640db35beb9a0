"""The things that reel-tiny can draw, by name.

The pictures are Microsoft's Fluent emoji, rendered in 3D, as packed (MIT) in the npm package
@lobehub/fluent-emoji-3d; the file names there are Unicode code points. Names and synonyms are plain English.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = "@lobehub/fluent-emoji-3d"
PACKAGE_VERSION = "1.1.0"


@dataclass(frozen=True)
class Thing:
    """One named picture: `words` are interchangeable in captions, the first is its name."""

    words: tuple[str, ...]
    code_point: str

    @property
    def name(self) -> str:
        return self.words[0]


THINGS: tuple[Thing, ...] = (
    Thing(("rocket", "spaceship", "rocket ship"), "1f680"),
    Thing(("fox",), "1f98a"),
    Thing(("chicken", "hen"), "1f414"),
    Thing(("cake", "birthday cake"), "1f382"),
    Thing(("cat", "kitten", "kitty"), "1f408"),
    Thing(("dog", "puppy"), "1f436"),
    Thing(("panda", "panda bear"), "1f43c"),
    Thing(("frog", "toad"), "1f438"),
    Thing(("penguin",), "1f427"),
    Thing(("duck",), "1f986"),
    Thing(("robot", "android"), "1f916"),
    Thing(("ghost", "spirit"), "1f47b"),
    Thing(("balloon", "red balloon"), "1f388"),
    Thing(("fish", "tropical fish"), "1f420"),
    Thing(("octopus", "squid"), "1f419"),
    Thing(("butterfly",), "1f98b"),
    Thing(("car", "red car", "automobile"), "1f697"),
    Thing(("apple", "red apple"), "1f34e"),
    Thing(("dinosaur", "t-rex", "dino"), "1f996"),
    Thing(("mushroom", "toadstool"), "1f344"),
    Thing(("sunflower", "flower"), "1f33b"),
    Thing(("pumpkin", "jack-o-lantern"), "1f383"),
    Thing(("star", "yellow star"), "2b50"),
    Thing(("snowman",), "26c4"),
)

THING_NAMES = tuple(thing.name for thing in THINGS)


@lru_cache(maxsize=None)
def sprite(assets: str, name: str) -> np.ndarray:
    """Premultiplied RGBA float32 [S, S, 4] in [0, 1], cropped to a square around the visible part."""
    thing = THINGS[THING_NAMES.index(name)]
    path = Path(assets) / f"{thing.code_point}.webp"
    rgba = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255.0
    ys, xs = np.nonzero(rgba[..., 3] > 0.03)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    cut = rgba[top:bottom, left:right]
    side = max(cut.shape[:2]) + 4
    out = np.zeros((side, side, 4), np.float32)
    y0, x0 = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    out[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]] = cut
    out[..., :3] *= out[..., 3:]
    return out
