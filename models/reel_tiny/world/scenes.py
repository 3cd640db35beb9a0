"""The scenes by name: `SCENES[name](rng)` returns `frame(time)`.

`time` runs over [0, 1] within a clip; a frame is uint8 RGB [S, S, 3], a fresh array each call. What varies by seed is
drawn once, before `frame` is returned, so a clip keeps its scenery. New scenes go to the end: which thing-scene pairs
are held out of training follows from the order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import landscapes, places
from .drawing import SIZE, Frame, Rng, colour_of, to_bytes

PAPERS = ("f9e7c8", "d6ecfa", "dff3d8", "f8d9e3", "e6def7")


def plain(rng: Rng) -> Frame:
    colour = colour_of(PAPERS[int(rng.integers(len(PAPERS)))])
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    shade = 1.0 - 0.28 * ((xs - 0.5) ** 2 + (ys - 0.45) ** 2)
    still = to_bytes(colour * shade[..., None])
    return lambda time: still.copy()


SCENES: dict[str, Callable[[Rng], Frame]] = {
    "beach": landscapes.beach,
    "sea": landscapes.sea,
    "night sky": landscapes.night_sky,
    "forest": landscapes.forest,
    "snow": landscapes.snow,
    "desert": landscapes.desert,
    "city": landscapes.city,
    "space": landscapes.space,
    "meadow": landscapes.meadow,
    "sunset": landscapes.sunset,
    "plain": plain,
    "mountains": places.mountains,
    "volcano": places.volcano,
    "rain": places.rain,
    "clouds": places.clouds,
    "aurora": places.aurora,
    "room": places.room,
    "stage": places.stage,
    "candy land": places.candy_land,
}
SCENE_NAMES = tuple(SCENES)
