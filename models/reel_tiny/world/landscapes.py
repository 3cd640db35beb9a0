"""Backdrops of nature and town, drawn from code: one function a scene, `draw(rng)` returns `frame(time)` (see scenes.py)."""

from __future__ import annotations

import numpy as np

from .drawing import SIZE, Frame, Rng, disc, drifting_clouds, glow, gradient, random_tint, ridge, shape, stars, to_bytes


def beach(rng: Rng) -> Frame:
    horizon, shore = rng.uniform(0.38, 0.44), rng.uniform(0.6, 0.66)
    still = gradient((0, "3fa9f5"), (horizon, "c9ecff"), (horizon + 0.005, "1287b8"), (shore, "4fd0d8"), (1, "4fd0d8"))
    sun = rng.uniform(0.1, 0.9)
    glow(still[: int(horizon * SIZE)], sun, 0.14, 0.12, "fff6c9", 0.9)
    sand = gradient((0, "f6dfa0"), (shore, "f3d78c"), (1, "dcb25f"), tint=random_tint(rng))
    clouds, phase = drifting_clouds(rng, 1), rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        clouds(image, time)
        xs = np.linspace(-0.02, 1.02, 40)
        wash = 0.02 * np.sin(2 * np.pi * time + phase)
        line = shore + wash + 0.012 * np.sin(4 * np.pi * xs + phase)
        foam = np.concatenate([np.stack([xs, line - 0.025], 1), [[1.02, 1.05], [-0.02, 1.05]]])
        edge = np.concatenate([np.stack([xs, line], 1), [[1.02, 1.05], [-0.02, 1.05]]])
        shape(image, foam, "f4ffff")
        land = np.zeros((SIZE, SIZE, 3), np.uint8)
        shape(land, edge, "ffffff")
        return to_bytes((image + (sand.astype(np.float32) - image) * (land / 255.0)) / 255.0)

    return frame


def sea(rng: Rng) -> Frame:
    still = gradient((0, "3fd0e6"), (0.45, "1580bd"), (1, "0a3a72"), tint=random_tint(rng))
    floor = ridge(rng, 0.9, 0.02)
    plants = [(x, rng.uniform(0.14, 0.26)) for x in (rng.uniform(0.04, 0.2), rng.uniform(0.8, 0.96), rng.uniform(0.25, 0.75))]
    bubbles = [(rng.uniform(0.05, 0.95), rng.uniform(0, 1), rng.uniform(0.015, 0.03)) for _ in range(6)]
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    phase = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        rays = np.sin(14 * (xs + 0.4 * ys) + phase + 2.5 * time) * np.exp(-2.2 * ys)
        image = to_bytes(still / 255.0 + 0.09 * rays[..., None])
        shape(image, floor, "d8c27a")
        for x, tall in plants:
            y = np.linspace(0, 1, 12)
            sway = 0.03 * y * np.sin(2 * np.pi * time + 4 * y + 20 * x)
            left = np.stack([x - 0.025 * (1 - y) + sway, 0.93 - tall * y], 1)
            right = np.stack([x + 0.025 * (1 - y) + sway, 0.93 - tall * y], 1)[::-1]
            shape(image, np.concatenate([left, right]), "1f9e5a")
        for x, y, r in bubbles:
            rise = (y - 0.5 * time) % 1.0
            disc(image, x, rise, r, "a9e8f7")
            disc(image, x, rise, 0.6 * r, "5fbede")
        return image

    return frame


def night_sky(rng: Rng) -> Frame:
    still = gradient((0, "070b2e"), (0.6, "1b2468"), (0.85, "3b3f8f"), (1, "3b3f8f"), tint=random_tint(rng, 0.02))
    stars(rng, still, 34, 0.8)
    x, y = rng.choice([0.17, 0.83]) + rng.uniform(-0.04, 0.04), rng.uniform(0.14, 0.2)
    glow(still, x, y, 0.12, "dfe4ff", 0.5)
    disc(still, x, y, 0.095, "fbf6d4")
    disc(still, x + 0.03, y - 0.02, 0.02, "e6dfae")
    disc(still, x - 0.035, y + 0.03, 0.025, "e6dfae")
    shape(still, ridge(rng, 0.88, 0.03), "0a1030")
    return lambda time: still.copy()


def forest(rng: Rng) -> Frame:
    still = gradient((0, "b9e3c6"), (0.5, "8cc9a0"), (1, "5c9c6a"), tint=random_tint(rng))
    for row, (base, colour, tall) in enumerate(((0.7, "4f9a68", 0.5), (0.8, "2c7a4b", 0.62))):
        for x in np.linspace(0.0, 1.0, 6) + rng.uniform(-0.06, 0.06, 6) + 0.08 * row:
            height, wide = tall * rng.uniform(0.85, 1.1), rng.uniform(0.09, 0.12)
            shape(still, np.array([[x - 0.015, base], [x + 0.015, base], [x + 0.015, base + 0.08], [x - 0.015, base + 0.08]]), "6b4a2b")
            for level in range(3):
                bottom = base - level * height * 0.24
                half = wide * (1 - 0.25 * level)
                shape(still, np.array([[x - half, bottom], [x + half, bottom], [x, bottom - height * 0.42]]), colour)
    shape(still, ridge(rng, 0.84, 0.02), "3c8a3f")
    return lambda time: still.copy()


def snow(rng: Rng) -> Frame:
    still = gradient((0, "8fb4d9"), (0.6, "d7e6f4"), (1, "eaf3fb"), tint=random_tint(rng, 0.02))
    shape(still, ridge(rng, 0.6, 0.05), "c3d6ea")
    for x in (rng.uniform(0.03, 0.2), rng.uniform(0.78, 0.97)):
        for level in range(3):
            bottom, half = 0.72 - 0.11 * level, 0.1 - 0.022 * level
            shape(still, np.array([[x - half, bottom], [x + half, bottom], [x, bottom - 0.17]]), "4c7f78")
            shape(still, np.array([[x - 0.5 * half, bottom - 0.085], [x + 0.5 * half, bottom - 0.085], [x, bottom - 0.17]]), "ffffff")
    shape(still, ridge(rng, 0.72, 0.025), "fbfdff")
    flakes = [(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.01, 0.017)) for _ in range(22)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, y, r in flakes:
            disc(image, x + 0.02 * np.sin(6.28 * time + 9 * y), (y + 0.6 * time) % 1.0, r, "ffffff")
        return image

    return frame


def desert(rng: Rng) -> Frame:
    still = gradient((0, "f7b267"), (0.55, "fde3b0"), (1, "fde3b0"), tint=random_tint(rng))
    x = rng.uniform(0.15, 0.85)
    glow(still, x, 0.2, 0.12, "fff7d6", 0.9)
    disc(still, x, 0.2, 0.075, "fffbe6")
    for base, colour in ((0.58, "e8a95b"), (0.7, "d98e44"), (0.84, "c67a35")):
        shape(still, ridge(rng, base, 0.04, 1.6), colour)
    for x in (rng.uniform(0.06, 0.2), rng.uniform(0.8, 0.94)):
        y = rng.uniform(0.68, 0.78)
        for dx, dy, w, h in ((0, 0, 0.022, 0.24), (-0.06, -0.08, 0.015, 0.09), (0.06, -0.1, 0.015, 0.08)):
            shape(still, np.array([[x + dx - w, y + dy], [x + dx + w, y + dy], [x + dx + w, y + dy - h], [x + dx - w, y + dy - h]]), "3f8f4a")
        for dx, dy in ((-0.035, -0.08), (0.035, -0.1)):
            shape(still, np.array([[x + dx - 0.04, y + dy], [x + dx + 0.04, y + dy], [x + dx + 0.04, y + dy - 0.026], [x + dx - 0.04, y + dy - 0.026]]), "3f8f4a")
    return lambda time: still.copy()


def city(rng: Rng) -> Frame:
    still = gradient((0, "7fb7e6"), (0.7, "e3eef7"), (1, "e3eef7"), tint=random_tint(rng, 0.02))
    clouds = drifting_clouds(rng, 1)
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
            shape(image, np.array([[x, top], [x + wide, top], [x + wide, 0.86], [x, 0.86]]), wall)
            for row in np.arange(top + 0.05, 0.78, 0.105):
                for column in (0.2, 0.6):
                    left = x + wide * column
                    shape(image, np.array([[left, row], [left + wide * 0.22, row], [left + wide * 0.22, row + 0.05], [left, row + 0.05]]), "ffe9a8")
        shape(image, np.array([[0, 0.85], [1.02, 0.85], [1.02, 1.02], [0, 1.02]]), "4a4e57")
        for start in np.arange(0.04, 1.0, 0.24):
            shape(image, np.array([[start, 0.92], [start + 0.12, 0.92], [start + 0.12, 0.945], [start, 0.945]]), "f2f2e6")
        return image

    return frame


def space(rng: Rng) -> Frame:
    still = gradient((0, "05030f"), (1, "0c0820"))
    for colour in ("6a1f8f", "1f4f9f"):
        glow(still, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), 0.24, colour, 0.6)
    stars(rng, still, 40, 1.0)
    x, y, r = rng.choice([0.16, 0.84]) + rng.uniform(-0.03, 0.03), rng.uniform(0.72, 0.84), rng.uniform(0.12, 0.15)
    disc(still, x, y, r, "d98a4e")
    disc(still, x - 0.2 * r, y - 0.2 * r, 0.72 * r, "eaa768")
    angle = np.linspace(0, 2 * np.pi, 60)
    outer = np.stack([x + 1.75 * r * np.cos(angle), y + 0.42 * r * np.sin(angle) - 0.3 * r * np.cos(angle)], 1)
    inner = np.stack([x + 1.45 * r * np.cos(angle), y + 0.3 * r * np.sin(angle) - 0.25 * r * np.cos(angle)], 1)[::-1]
    half = slice(0, 30)
    shape(still, np.concatenate([outer[half], inner[30:]]), "f3dcb4")
    return lambda time: still.copy()


def meadow(rng: Rng) -> Frame:
    still = gradient((0, "58b4f0"), (0.55, "d5f0fb"), (1, "d5f0fb"), tint=random_tint(rng, 0.02))
    clouds = drifting_clouds(rng, 2)
    back, front = ridge(rng, 0.56, 0.04), ridge(rng, 0.68, 0.03)
    petals = ("ffffff", "ffd84d", "ff7aa8")
    flowers = [(rng.uniform(0.03, 0.97), rng.uniform(0.76, 0.97), petals[int(rng.integers(3))]) for _ in range(12)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        clouds(image, time)
        shape(image, back, "8fd16a")
        shape(image, front, "5cb545")
        for x, y, colour in flowers:
            disc(image, x, y, 0.02, colour)
            disc(image, x, y, 0.008, "f2a33a")
        return image

    return frame


def sunset(rng: Rng) -> Frame:
    horizon = rng.uniform(0.66, 0.72)
    still = gradient((0, "4b2a7b"), (0.35, "d9507a"), (horizon, "ffb45c"), (horizon + 0.005, "7a3a6e"), (1, "2b1f56"), tint=random_tint(rng, 0.02))
    x = rng.uniform(0.3, 0.7)
    sky = still[: int(horizon * SIZE)]
    glow(still, x, horizon, 0.2, "ffd27a", 0.6)
    full = still.copy()
    disc(full, x, horizon - 0.02, 0.15, "fff0a8")
    sky[:] = full[: int(horizon * SIZE)]
    phase = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for step, y in enumerate(np.linspace(horizon + 0.04, 0.96, 6)):
            half = (0.13 - 0.012 * step) * (1 + 0.25 * np.sin(6.28 * time + phase + 2 * step))
            shape(image, np.array([[x - half, y], [x + half, y], [x + half, y + 0.018], [x - half, y + 0.018]]), "ffb968")
        return image

    return frame
