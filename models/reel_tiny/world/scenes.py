"""Backdrops drawn from code: one function a scene, `draw(rng)` returns `frame(time)`.

`time` runs over [0, 1] within a clip; a frame is uint8 RGB [S, S, 3], a fresh array each call. What varies by seed is
drawn once, before `frame` is returned, so a clip keeps its scenery.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 128
Frame = Callable[[float], np.ndarray]
Rng = np.random.Generator


def _rgb(code: str) -> np.ndarray:
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255.0


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _gradient(*stops: tuple[float, str], tint: np.ndarray | float = 0.0) -> np.ndarray:
    """Vertical colour gradient over the whole frame through (height in [0, 1], hex colour) stops."""
    heights = [height for height, _ in stops]
    colours = np.stack([_rgb(code) for _, code in stops])
    rows = np.linspace(0, 1, SIZE)
    column = np.stack([np.interp(rows, heights, colours[:, c]) for c in range(3)], 1)
    return _bytes(np.repeat(column[:, None, :], SIZE, 1) + tint)


def _tint(rng: Rng, amount: float = 0.03) -> np.ndarray:
    return rng.uniform(-amount, amount, 3).astype(np.float32)


def _shape(image: np.ndarray, points: np.ndarray, colour: np.ndarray | str) -> None:
    """Fills a polygon; `points` [N, 2] as (x, y) fractions of the frame. OpenCV antialiases 8-bit images only."""
    rgb = (_rgb(colour) if isinstance(colour, str) else colour) * 255.0
    fixed = np.round(np.asarray(points, np.float64) * SIZE * 16).astype(np.int32)
    cv2.fillPoly(image, [fixed], tuple(float(v) for v in rgb), lineType=cv2.LINE_AA, shift=4)


def _disc(image: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray | str) -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    _shape(image, np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1), colour)


def _glow(image: np.ndarray, x: float, y: float, radius: float, colour: str, strength: float) -> None:
    ys, xs = np.mgrid[0 : image.shape[0], 0:SIZE].astype(np.float32) / SIZE
    halo = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2))[..., None] * strength
    image[:] = _bytes(image / 255.0 * (1.0 - halo) + _rgb(colour) * halo)


def _ridge(rng: Rng, base: float, height: float, waves: float = 2.0) -> np.ndarray:
    """A smooth hill line across the frame, closed along the bottom edge."""
    xs = np.linspace(-0.02, 1.02, 48)
    phase = rng.uniform(0, 2 * np.pi, 2)
    line = base + height * (0.7 * np.sin(waves * np.pi * xs + phase[0]) + 0.3 * np.sin(2.3 * waves * np.pi * xs + phase[1]))
    return np.concatenate([np.stack([xs, line], 1), [[1.02, 1.05], [-0.02, 1.05]]])


def _cloud(image: np.ndarray, x: float, y: float, size: float, colour: str = "ffffff") -> None:
    for dx, dy, r in ((-1.1, 0.1, 0.6), (-0.4, -0.25, 0.8), (0.45, -0.15, 0.7), (1.1, 0.12, 0.5)):
        _disc(image, x + dx * size, y + dy * size, r * size, colour)


def _clouds(rng: Rng, count: int = 2) -> Callable[[np.ndarray, float], None]:
    spots = [(rng.uniform(0, 1), rng.uniform(0.08, 0.22), rng.uniform(0.05, 0.08)) for _ in range(count)]

    def draw(image: np.ndarray, time: float) -> None:
        for x, y, size in spots:
            _cloud(image, (x + 0.1 * time + 0.25) % 1.5 - 0.25, y, size)

    return draw


def beach(rng: Rng) -> Frame:
    horizon, shore = rng.uniform(0.38, 0.44), rng.uniform(0.6, 0.66)
    still = _gradient((0, "3fa9f5"), (horizon, "c9ecff"), (horizon + 0.005, "1287b8"), (shore, "4fd0d8"), (1, "4fd0d8"))
    sun = rng.uniform(0.1, 0.9)
    _glow(still[: int(horizon * SIZE)], sun, 0.14, 0.12, "fff6c9", 0.9)
    sand = _gradient((0, "f6dfa0"), (shore, "f3d78c"), (1, "dcb25f"), tint=_tint(rng))
    clouds, phase = _clouds(rng, 1), rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        clouds(image, time)
        xs = np.linspace(-0.02, 1.02, 40)
        wash = 0.02 * np.sin(2 * np.pi * time + phase)
        line = shore + wash + 0.012 * np.sin(4 * np.pi * xs + phase)
        foam = np.concatenate([np.stack([xs, line - 0.025], 1), [[1.02, 1.05], [-0.02, 1.05]]])
        edge = np.concatenate([np.stack([xs, line], 1), [[1.02, 1.05], [-0.02, 1.05]]])
        _shape(image, foam, "f4ffff")
        land = np.zeros((SIZE, SIZE, 3), np.uint8)
        _shape(land, edge, "ffffff")
        return _bytes((image + (sand.astype(np.float32) - image) * (land / 255.0)) / 255.0)

    return frame


def sea(rng: Rng) -> Frame:
    still = _gradient((0, "3fd0e6"), (0.45, "1580bd"), (1, "0a3a72"), tint=_tint(rng))
    floor = _ridge(rng, 0.9, 0.02)
    plants = [(x, rng.uniform(0.14, 0.26)) for x in (rng.uniform(0.04, 0.2), rng.uniform(0.8, 0.96), rng.uniform(0.25, 0.75))]
    bubbles = [(rng.uniform(0.05, 0.95), rng.uniform(0, 1), rng.uniform(0.015, 0.03)) for _ in range(6)]
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    phase = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        rays = np.sin(14 * (xs + 0.4 * ys) + phase + 2.5 * time) * np.exp(-2.2 * ys)
        image = _bytes(still / 255.0 + 0.09 * rays[..., None])
        _shape(image, floor, "d8c27a")
        for x, tall in plants:
            y = np.linspace(0, 1, 12)
            sway = 0.03 * y * np.sin(2 * np.pi * time + 4 * y + 20 * x)
            left = np.stack([x - 0.025 * (1 - y) + sway, 0.93 - tall * y], 1)
            right = np.stack([x + 0.025 * (1 - y) + sway, 0.93 - tall * y], 1)[::-1]
            _shape(image, np.concatenate([left, right]), "1f9e5a")
        for x, y, r in bubbles:
            rise = (y - 0.5 * time) % 1.0
            _disc(image, x, rise, r, "a9e8f7")
            _disc(image, x, rise, 0.6 * r, "5fbede")
        return image

    return frame


def _stars(rng: Rng, image: np.ndarray, count: int, lowest: float) -> None:
    for _ in range(count):
        bright = rng.uniform(0.6, 1.0)
        _disc(image, rng.uniform(0, 1), rng.uniform(0, lowest), rng.uniform(0.006, 0.012), np.full(3, bright))


def night_sky(rng: Rng) -> Frame:
    still = _gradient((0, "070b2e"), (0.6, "1b2468"), (0.85, "3b3f8f"), (1, "3b3f8f"), tint=_tint(rng, 0.02))
    _stars(rng, still, 34, 0.8)
    x, y = rng.choice([0.17, 0.83]) + rng.uniform(-0.04, 0.04), rng.uniform(0.14, 0.2)
    _glow(still, x, y, 0.12, "dfe4ff", 0.5)
    _disc(still, x, y, 0.095, "fbf6d4")
    _disc(still, x + 0.03, y - 0.02, 0.02, "e6dfae")
    _disc(still, x - 0.035, y + 0.03, 0.025, "e6dfae")
    _shape(still, _ridge(rng, 0.88, 0.03), "0a1030")
    return lambda time: still.copy()


def forest(rng: Rng) -> Frame:
    still = _gradient((0, "b9e3c6"), (0.5, "8cc9a0"), (1, "5c9c6a"), tint=_tint(rng))
    for row, (base, colour, tall) in enumerate(((0.7, "4f9a68", 0.5), (0.8, "2c7a4b", 0.62))):
        for x in np.linspace(0.0, 1.0, 6) + rng.uniform(-0.06, 0.06, 6) + 0.08 * row:
            height, wide = tall * rng.uniform(0.85, 1.1), rng.uniform(0.09, 0.12)
            _shape(still, np.array([[x - 0.015, base], [x + 0.015, base], [x + 0.015, base + 0.08], [x - 0.015, base + 0.08]]), "6b4a2b")
            for level in range(3):
                bottom = base - level * height * 0.24
                half = wide * (1 - 0.25 * level)
                _shape(still, np.array([[x - half, bottom], [x + half, bottom], [x, bottom - height * 0.42]]), colour)
    _shape(still, _ridge(rng, 0.84, 0.02), "3c8a3f")
    return lambda time: still.copy()


def snow(rng: Rng) -> Frame:
    still = _gradient((0, "8fb4d9"), (0.6, "d7e6f4"), (1, "eaf3fb"), tint=_tint(rng, 0.02))
    _shape(still, _ridge(rng, 0.6, 0.05), "c3d6ea")
    for x in (rng.uniform(0.03, 0.2), rng.uniform(0.78, 0.97)):
        for level in range(3):
            bottom, half = 0.72 - 0.11 * level, 0.1 - 0.022 * level
            _shape(still, np.array([[x - half, bottom], [x + half, bottom], [x, bottom - 0.17]]), "4c7f78")
            _shape(still, np.array([[x - 0.5 * half, bottom - 0.085], [x + 0.5 * half, bottom - 0.085], [x, bottom - 0.17]]), "ffffff")
    _shape(still, _ridge(rng, 0.72, 0.025), "fbfdff")
    flakes = [(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.01, 0.017)) for _ in range(22)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, y, r in flakes:
            _disc(image, x + 0.02 * np.sin(6.28 * time + 9 * y), (y + 0.6 * time) % 1.0, r, "ffffff")
        return image

    return frame


def desert(rng: Rng) -> Frame:
    still = _gradient((0, "f7b267"), (0.55, "fde3b0"), (1, "fde3b0"), tint=_tint(rng))
    x = rng.uniform(0.15, 0.85)
    _glow(still, x, 0.2, 0.12, "fff7d6", 0.9)
    _disc(still, x, 0.2, 0.075, "fffbe6")
    for base, colour in ((0.58, "e8a95b"), (0.7, "d98e44"), (0.84, "c67a35")):
        _shape(still, _ridge(rng, base, 0.04, 1.6), colour)
    for x in (rng.uniform(0.06, 0.2), rng.uniform(0.8, 0.94)):
        y = rng.uniform(0.68, 0.78)
        for dx, dy, w, h in ((0, 0, 0.022, 0.24), (-0.06, -0.08, 0.015, 0.09), (0.06, -0.1, 0.015, 0.08)):
            _shape(still, np.array([[x + dx - w, y + dy], [x + dx + w, y + dy], [x + dx + w, y + dy - h], [x + dx - w, y + dy - h]]), "3f8f4a")
        for dx, dy in ((-0.035, -0.08), (0.035, -0.1)):
            _shape(still, np.array([[x + dx - 0.04, y + dy], [x + dx + 0.04, y + dy], [x + dx + 0.04, y + dy - 0.026], [x + dx - 0.04, y + dy - 0.026]]), "3f8f4a")
    return lambda time: still.copy()


def city(rng: Rng) -> Frame:
    still = _gradient((0, "7fb7e6"), (0.7, "e3eef7"), (1, "e3eef7"), tint=_tint(rng, 0.02))
    clouds = _clouds(rng, 1)
    walls = ("8d99ae", "a5788a", "6d8299", "b08968", "7a86b8")
    houses, x = [], -0.03
    while x < 1.0:
        wide = rng.uniform(0.15, 0.22)
        houses.append((x, wide, rng.uniform(0.2, 0.5), walls[int(rng.integers(len(walls)))]))
        x += wide + 0.012

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        clouds(image, time)
        for x, wide, top, wall in houses:
            _shape(image, np.array([[x, top], [x + wide, top], [x + wide, 0.86], [x, 0.86]]), wall)
            for row in np.arange(top + 0.05, 0.78, 0.105):
                for column in (0.2, 0.6):
                    left = x + wide * column
                    _shape(image, np.array([[left, row], [left + wide * 0.22, row], [left + wide * 0.22, row + 0.05], [left, row + 0.05]]), "ffe9a8")
        _shape(image, np.array([[0, 0.85], [1.02, 0.85], [1.02, 1.02], [0, 1.02]]), "4a4e57")
        for start in np.arange(0.04, 1.0, 0.24):
            _shape(image, np.array([[start, 0.92], [start + 0.12, 0.92], [start + 0.12, 0.945], [start, 0.945]]), "f2f2e6")
        return image

    return frame


def space(rng: Rng) -> Frame:
    still = _gradient((0, "05030f"), (1, "0c0820"))
    for colour in ("6a1f8f", "1f4f9f"):
        _glow(still, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), 0.24, colour, 0.6)
    _stars(rng, still, 40, 1.0)
    x, y, r = rng.choice([0.16, 0.84]) + rng.uniform(-0.03, 0.03), rng.uniform(0.72, 0.84), rng.uniform(0.12, 0.15)
    _disc(still, x, y, r, "d98a4e")
    _disc(still, x - 0.2 * r, y - 0.2 * r, 0.72 * r, "eaa768")
    angle = np.linspace(0, 2 * np.pi, 60)
    outer = np.stack([x + 1.75 * r * np.cos(angle), y + 0.42 * r * np.sin(angle) - 0.3 * r * np.cos(angle)], 1)
    inner = np.stack([x + 1.45 * r * np.cos(angle), y + 0.3 * r * np.sin(angle) - 0.25 * r * np.cos(angle)], 1)[::-1]
    half = slice(0, 30)
    _shape(still, np.concatenate([outer[half], inner[30:]]), "f3dcb4")
    return lambda time: still.copy()


def meadow(rng: Rng) -> Frame:
    still = _gradient((0, "58b4f0"), (0.55, "d5f0fb"), (1, "d5f0fb"), tint=_tint(rng, 0.02))
    clouds = _clouds(rng, 2)
    back, front = _ridge(rng, 0.56, 0.04), _ridge(rng, 0.68, 0.03)
    petals = ("ffffff", "ffd84d", "ff7aa8")
    flowers = [(rng.uniform(0.03, 0.97), rng.uniform(0.76, 0.97), petals[int(rng.integers(3))]) for _ in range(12)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        clouds(image, time)
        _shape(image, back, "8fd16a")
        _shape(image, front, "5cb545")
        for x, y, colour in flowers:
            _disc(image, x, y, 0.02, colour)
            _disc(image, x, y, 0.008, "f2a33a")
        return image

    return frame


def sunset(rng: Rng) -> Frame:
    horizon = rng.uniform(0.66, 0.72)
    still = _gradient((0, "4b2a7b"), (0.35, "d9507a"), (horizon, "ffb45c"), (horizon + 0.005, "7a3a6e"), (1, "2b1f56"), tint=_tint(rng, 0.02))
    x = rng.uniform(0.3, 0.7)
    sky = still[: int(horizon * SIZE)]
    _glow(still, x, horizon, 0.2, "ffd27a", 0.6)
    full = still.copy()
    _disc(full, x, horizon - 0.02, 0.15, "fff0a8")
    sky[:] = full[: int(horizon * SIZE)]
    phase = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for step, y in enumerate(np.linspace(horizon + 0.04, 0.96, 6)):
            half = (0.13 - 0.012 * step) * (1 + 0.25 * np.sin(6.28 * time + phase + 2 * step))
            _shape(image, np.array([[x - half, y], [x + half, y], [x + half, y + 0.018], [x - half, y + 0.018]]), "ffb968")
        return image

    return frame


PAPERS = ("f9e7c8", "d6ecfa", "dff3d8", "f8d9e3", "e6def7")


def plain(rng: Rng) -> Frame:
    colour = _rgb(PAPERS[int(rng.integers(len(PAPERS)))])
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    shade = 1.0 - 0.28 * ((xs - 0.5) ** 2 + (ys - 0.45) ** 2)
    still = _bytes(colour * shade[..., None])
    return lambda time: still.copy()


SCENES: dict[str, Callable[[Rng], Frame]] = {
    "beach": beach,
    "sea": sea,
    "night sky": night_sky,
    "forest": forest,
    "snow": snow,
    "desert": desert,
    "city": city,
    "space": space,
    "meadow": meadow,
    "sunset": sunset,
    "plain": plain,
}
SCENE_NAMES = tuple(SCENES)
