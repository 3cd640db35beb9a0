"""What backdrops are drawn with: gradients, polygons, discs, glows, hills, clouds and stars.

Pictures are uint8 RGB [S, S, 3]; places and sizes are fractions of the frame, colours hex.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 128
Frame = Callable[[float], np.ndarray]
Rng = np.random.Generator


def colour_of(code: str) -> np.ndarray:
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255.0


def to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8)


def gradient(*stops: tuple[float, str], tint: np.ndarray | float = 0.0) -> np.ndarray:
    """Vertical colour gradient over the whole frame through (height in [0, 1], hex colour) stops."""
    heights = [height for height, _ in stops]
    colours = np.stack([colour_of(code) for _, code in stops])
    rows = np.linspace(0, 1, SIZE)
    column = np.stack([np.interp(rows, heights, colours[:, c]) for c in range(3)], 1)
    return to_bytes(np.repeat(column[:, None, :], SIZE, 1) + tint)


def random_tint(rng: Rng, amount: float = 0.03) -> np.ndarray:
    return rng.uniform(-amount, amount, 3).astype(np.float32)


def shape(image: np.ndarray, points: np.ndarray, colour: np.ndarray | str) -> None:
    """Fills a polygon; `points` [N, 2] as (x, y) fractions of the frame. OpenCV antialiases 8-bit images only."""
    rgb = (colour_of(colour) if isinstance(colour, str) else colour) * 255.0
    fixed = np.round(np.asarray(points, np.float64) * SIZE * 16).astype(np.int32)
    cv2.fillPoly(image, [fixed], tuple(float(v) for v in rgb), lineType=cv2.LINE_AA, shift=4)


def disc(image: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray | str) -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    shape(image, np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1), colour)


def glow(image: np.ndarray, x: float, y: float, radius: float, colour: str, strength: float) -> None:
    ys, xs = np.mgrid[0 : image.shape[0], 0:SIZE].astype(np.float32) / SIZE
    halo = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2))[..., None] * strength
    image[:] = to_bytes(image / 255.0 * (1.0 - halo) + colour_of(colour) * halo)


def ridge(rng: Rng, base: float, height: float, waves: float = 2.0) -> np.ndarray:
    """A smooth hill line across the frame, closed along the bottom edge."""
    xs = np.linspace(-0.02, 1.02, 48)
    phase = rng.uniform(0, 2 * np.pi, 2)
    line = base + height * (0.7 * np.sin(waves * np.pi * xs + phase[0]) + 0.3 * np.sin(2.3 * waves * np.pi * xs + phase[1]))
    return np.concatenate([np.stack([xs, line], 1), [[1.02, 1.05], [-0.02, 1.05]]])


def cloud(image: np.ndarray, x: float, y: float, size: float, colour: str = "ffffff") -> None:
    for dx, dy, r in ((-1.1, 0.1, 0.6), (-0.4, -0.25, 0.8), (0.45, -0.15, 0.7), (1.1, 0.12, 0.5)):
        disc(image, x + dx * size, y + dy * size, r * size, colour)


def drifting_clouds(rng: Rng, count: int = 2) -> Callable[[np.ndarray, float], None]:
    spots = [(rng.uniform(0, 1), rng.uniform(0.08, 0.22), rng.uniform(0.05, 0.08)) for _ in range(count)]

    def draw(image: np.ndarray, time: float) -> None:
        for x, y, size in spots:
            cloud(image, (x + 0.1 * time + 0.25) % 1.5 - 0.25, y, size)

    return draw


def stars(rng: Rng, image: np.ndarray, count: int, lowest: float) -> None:
    for _ in range(count):
        bright = rng.uniform(0.6, 1.0)
        disc(image, rng.uniform(0, 1), rng.uniform(0, lowest), rng.uniform(0.006, 0.012), np.full(3, bright))

