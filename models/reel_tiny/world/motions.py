"""How a thing moves through a clip: `path(rng)` returns `pose(time)` -> (x, y, size, degrees).

`time` runs over [0, 1]; x and y are the middle of the thing and size its height, as fractions of the frame; degrees turn
clockwise. Paths keep close to one course for each motion, so that the words tell where the thing is at every moment.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Pose = tuple[float, float, float, float]
Path = Callable[[float], Pose]
Rng = np.random.Generator


def _start(rng: Rng) -> tuple[float, float, float]:
    return 0.5 + rng.uniform(-0.05, 0.05), 0.56 + rng.uniform(-0.04, 0.04), rng.uniform(0.54, 0.66)


def still(rng: Rng) -> Path:
    x, y, size = _start(rng)
    return lambda time: (x, y, size, 4.0 * np.sin(2 * np.pi * time))


def _across(rng: Rng, direction: float) -> Path:
    _, y, size = _start(rng)
    size, middle = 0.9 * size, 0.5 + rng.uniform(-0.03, 0.03)
    return lambda time: (middle + direction * 0.56 * (time - 0.5), y - 0.02 * abs(np.sin(4 * np.pi * time)), size, 0.0)


def left(rng: Rng) -> Path:
    return _across(rng, -1.0)


def right(rng: Rng) -> Path:
    return _across(rng, 1.0)


def _rise(rng: Rng, direction: float) -> Path:
    x, _, size = _start(rng)
    size, middle = 0.85 * size, 0.52 + rng.uniform(-0.03, 0.03)
    return lambda time: (x, middle + direction * 0.56 * (time - 0.5), size, 0.0)


def up(rng: Rng) -> Path:
    return _rise(rng, -1.0)


def down(rng: Rng) -> Path:
    return _rise(rng, 1.0)


def bouncing(rng: Rng) -> Path:
    x, _, size = _start(rng)
    return lambda time: (x, 0.68 - 0.26 * abs(np.sin(2 * np.pi * time)), 0.9 * size, 0.0)


def spinning(rng: Rng) -> Path:
    x, y, size = _start(rng)
    return lambda time: (x, y - 0.04, size, 360.0 * time)


def growing(rng: Rng) -> Path:
    x, y, _ = _start(rng)
    return lambda time: (x, y, 0.28 + 0.52 * time, 0.0)


def shrinking(rng: Rng) -> Path:
    x, y, _ = _start(rng)
    return lambda time: (x, y, 0.8 - 0.52 * time, 0.0)


MOTIONS: dict[str, Callable[[Rng], Path]] = {
    "still": still,
    "left": left,
    "right": right,
    "up": up,
    "down": down,
    "bouncing": bouncing,
    "spinning": spinning,
    "growing": growing,
    "shrinking": shrinking,
}
MOTION_NAMES = tuple(MOTIONS)
