"""More backdrops, drawn from code: one function a scene, `draw(rng)` returns `frame(time)` (see scenes.py).

A thing covers the middle, so what names a place stands at its sides, above and below.
"""

from __future__ import annotations

import numpy as np

from .drawing import SIZE, Frame, Rng, cloud, colour_of, disc, glow, gradient, random_tint, ridge, shape, stars, to_bytes


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def mountains(rng: Rng) -> Frame:
    still = gradient((0, "5fa8ea"), (0.5, "dbeefb"), (1, "dbeefb"), tint=random_tint(rng, 0.02))
    for x, top, half, colour in ((0.5, 0.2, 0.42, "8ba0b8"), (0.1, 0.1, 0.36, "6f86a3"), (0.9, 0.14, 0.36, "768daa")):
        x, top = x + rng.uniform(-0.04, 0.04), top + rng.uniform(-0.03, 0.03)
        shape(still, np.array([[x - half, 0.72], [x, top], [x + half, 0.72]]), colour)
        shape(still, np.array([[x, top], [x + half, 0.72], [x + 0.1 * half, 0.72]]), "556b88")
        slope = half / (0.72 - top)
        drips = [(-0.2 * slope, 0.2), (-0.09 * slope, 0.14), (0.0, 0.22), (0.08 * slope, 0.13), (0.2 * slope, 0.2)]
        shape(still, np.array([[x, top], *([x + dx, top + dy] for dx, dy in drips)]), "ffffff")
    shape(still, ridge(rng, 0.7, 0.025), "4d7d4a")
    lake = ridge(rng, 0.83, 0.008, 1.0)
    shape(still, lake, "3f86c6")
    phase = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for row, y in enumerate((0.87, 0.92, 0.97)):
            for x in (0.12, 0.42, 0.72):
                x = x + 0.1 * row + 0.04 * np.sin(6.28 * time + phase + 2 * row)
                shape(image, _box(x, y, x + 0.14, y + 0.014), "9cc8ee")
        return image

    return frame


def volcano(rng: Rng) -> Frame:
    still = gradient((0, "2b0b1c"), (0.45, "8c1f1f"), (0.75, "e2602a"), (1, "e2602a"), tint=random_tint(rng, 0.02))
    x = rng.choice([0.2, 0.8]) + rng.uniform(-0.04, 0.04)
    glow(still, x, 0.2, 0.14, "ffb13d", 0.9)
    shape(still, np.array([[x - 0.09, 0.24], [x + 0.09, 0.24], [x + 0.42, 0.8], [x - 0.42, 0.8]]), "3a2229")
    for foot, half in ((-0.2, 0.02), (0.03, 0.03), (0.22, 0.02)):
        shape(still, np.array([[x + 0.25 * foot - half, 0.24], [x + 0.25 * foot + half, 0.24], [x + foot + 1.6 * half, 0.8], [x + foot - 1.6 * half, 0.8]]), "ff7a1f")
    shape(still, _box(x - 0.09, 0.225, x + 0.09, 0.255), "ffd34d")
    shape(still, ridge(rng, 0.76, 0.02), "2a161d")
    shape(still, ridge(rng, 0.87, 0.012, 1.0), "ff6a1a")
    shape(still, ridge(rng, 0.93, 0.02, 3.0), "1d0f15")
    sparks = [(rng.uniform(-0.3, 0.3), rng.uniform(0, 1), rng.uniform(0.008, 0.016)) for _ in range(14)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for aside, begun, r in sparks:
            flight = (begun + time) % 1.0
            disc(image, x + aside * flight, 0.22 - 0.7 * flight + 0.75 * flight**2, r, "ffc84a")
        return image

    return frame


def rain(rng: Rng) -> Frame:
    still = gradient((0, "525f6e"), (0.6, "93a1ae"), (0.78, "a5b1bb"), (0.785, "5b6772"), (1, "3f4a55"), tint=random_tint(rng, 0.02))
    for x in np.arange(-0.05, 1.1, 0.2):
        cloud(still, x + rng.uniform(-0.04, 0.04), rng.uniform(0.02, 0.1), rng.uniform(0.09, 0.12), "3b4653")
    drops = [(rng.uniform(0, 1.1), rng.uniform(0, 1), rng.uniform(0.06, 0.1)) for _ in range(34)]
    puddles = [(rng.uniform(0.08, 0.92), rng.uniform(0.84, 0.96), rng.uniform(0, 1)) for _ in range(5)]
    angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, y, begun in puddles:
            wide = 0.03 + 0.09 * ((begun + 2 * time) % 1.0)
            for part, colour in ((1.0, "a9b9c6"), (0.75, "4c5863")):
                shape(image, np.stack([x + part * wide * np.cos(angle), y + 0.3 * part * wide * np.sin(angle)], 1), colour)
        for x, y, tall in drops:
            fall = (y + 3 * time) % 1.1 - 0.05
            left = x - 0.2 * fall
            shape(image, np.array([[left, fall], [left + 0.011, fall], [left + 0.011 - 0.2 * tall, fall + tall], [left - 0.2 * tall, fall + tall]]), "cfe2f2")
        return image

    return frame


def clouds(rng: Rng) -> Frame:
    still = gradient((0, "2f8fe8"), (0.7, "a9dbfa"), (1, "d9f1fd"), tint=random_tint(rng, 0.02))
    spread = rng.uniform(0, 1.3)
    far = [(spread + 0.47 * row, y, rng.uniform(0.07, 0.1)) for row, y in enumerate((0.1, 0.22, 0.36, 0.5))]
    near = [(x + rng.uniform(-0.04, 0.04), rng.uniform(0.84, 0.9), rng.uniform(0.12, 0.15)) for x in np.arange(-0.3, 1.3, 0.26)]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, y, size in far:
            cloud(image, (x + 0.12 * time) % 1.3 - 0.15, y, size, "eef8fe")
        for x, y, size in near:
            cloud(image, x + 0.22 * time, y + 0.02, size, "c3e0f4")
            cloud(image, x + 0.22 * time, y + 0.06, size, "ffffff")
        shape(image, _box(-0.02, 0.95, 1.02, 1.02), "ffffff")
        return image

    return frame


def aurora(rng: Rng) -> Frame:
    still = gradient((0, "03131f"), (0.75, "0b3a44"), (1, "0b3a44"), tint=random_tint(rng, 0.015))
    stars(rng, still, 16, 0.6)
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    ribbons = [(base, rng.uniform(0, 6.28), colour) for base, colour in ((0.22, "8a4dff"), (0.34, "2bff9e"), (0.5, "19d7c2"))]
    snow = ridge(rng, 0.82, 0.02)
    trees = [(x, rng.uniform(0.2, 0.28)) for x in (rng.uniform(0.03, 0.1), rng.uniform(0.15, 0.22), rng.uniform(0.8, 0.86), rng.uniform(0.9, 0.97))]

    def frame(time: float) -> np.ndarray:
        light = still / np.float32(255.0)
        for base, phase, colour in ribbons:
            line = base + 0.07 * np.sin(5 * xs + phase + 2.5 * time) + 0.025 * np.sin(13 * xs - phase + 3 * time)
            above = line - ys
            # A sharp lower hem, fading upwards.
            veil = np.where(above > 0, np.exp(-above / 0.11), np.exp(above / 0.012)) * (0.75 + 0.25 * np.sin(40 * xs + phase))
            light = light + 0.7 * veil[..., None] * colour_of(colour)
        image = to_bytes(light)
        shape(image, snow, "b9dbe6")
        for x, tall in trees:
            for level in range(3):
                bottom, half = 0.86 - 0.3 * level * tall, 0.06 - 0.013 * level
                shape(image, np.array([[x - half, bottom], [x + half, bottom], [x, bottom - 0.45 * tall]]), "06202b")
        return image

    return frame


def room(rng: Rng) -> Frame:
    still = gradient((0, "f2d5ae"), (0.74, "e6bf90"), (0.745, "a8713f"), (1, "8a5930"), tint=random_tint(rng, 0.02))
    for x in np.arange(0.03, 1.0, 0.12):
        shape(still, _box(x, -0.02, x + 0.05, 0.74), "ecc89a")
    shape(still, _box(-0.02, 0.73, 1.02, 0.76), "fff4e2")
    for y in (0.82, 0.9, 0.98):
        shape(still, _box(-0.02, y, 1.02, y + 0.008), "6f4523")
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for part, colour in ((1.0, "c23b4e"), (0.75, "e8837b")):
        shape(still, np.stack([0.5 + 0.4 * part * np.cos(angle), 0.9 + 0.075 * part * np.sin(angle)], 1), colour)
    window, lamp = (0.18, 0.84) if rng.random() < 0.5 else (0.82, 0.16)
    window, lamp, top = window + rng.uniform(-0.02, 0.02), lamp + rng.uniform(-0.02, 0.02), rng.uniform(0.1, 0.15)
    shape(still, _box(window - 0.155, top - 0.03, window + 0.155, top + 0.37), "fffaf0")
    shape(still, _box(window - 0.125, top, window + 0.125, top + 0.34), "8fd0f7")
    for side in (-1, 1):
        shape(still, _box(window + side * 0.14 - 0.045, top - 0.05, window + side * 0.14 + 0.045, top + 0.42), "3f7f9e")
    shape(still, _box(lamp - 0.012, 0.32, lamp + 0.012, 0.8), "5b3a24")
    shape(still, _box(lamp - 0.07, 0.79, lamp + 0.07, 0.815), "5b3a24")
    drift = rng.uniform(0, 0.2)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        cloud(image, window - 0.03 + 0.06 * ((time + drift) % 1.0), top + 0.1, 0.03)
        shape(image, _box(window - 0.008, top, window + 0.008, top + 0.34), "fffaf0")
        glow(image, lamp, 0.3, 0.13, "fff0b0", 0.55 + 0.1 * np.sin(6.28 * (time + drift)))
        shape(image, np.array([[lamp - 0.055, 0.2], [lamp + 0.055, 0.2], [lamp + 0.1, 0.36], [lamp - 0.1, 0.36]]), "ffdf7e")
        return image

    return frame


def stage(rng: Rng) -> Frame:
    still = gradient((0, "1a1030"), (0.78, "2d1c4a"), (0.785, "c98a4b"), (1, "9a6230"), tint=random_tint(rng, 0.02))
    for x in np.arange(-0.4, 1.4, 0.16):
        shape(still, np.array([[0.5 + 0.75 * (x - 0.5), 0.785], [0.507 + 0.75 * (x - 0.5), 0.785], [x + 0.02, 1.02], [x, 1.02]]), "83501f")
    folds, sway = rng.uniform(0.16, 0.2), rng.uniform(0, 6.28)
    lights = [(0.3, rng.uniform(0, 6.28), "ffe9a0"), (0.7, rng.uniform(0, 6.28), "ffb3dd")]

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, phase, colour in lights:
            aim = 0.5 + 0.14 * np.sin(6.28 * time + phase)
            beam = image.copy()
            shape(beam, np.array([[x - 0.02, 0.05], [x + 0.02, 0.05], [aim + 0.2, 0.9], [aim - 0.2, 0.9]]), colour)
            image = to_bytes((0.7 * image + 0.3 * beam) / 255.0)
        for side in (0.0, 1.0):
            for fold in range(4):
                inner = (4 - fold) / 4 * folds + 0.008 * np.sin(6.28 * time + sway + fold)
                colour = "c2183a" if fold % 2 else "8f0f2a"
                shape(image, _box(-0.02, -0.02, inner, 0.94) if side == 0.0 else _box(1 - inner, -0.02, 1.02, 0.94), colour)
        for x in np.arange(0.0, 1.01, 0.125):
            disc(image, x, 0.07, 0.075, "c2183a")
        shape(image, _box(-0.02, -0.02, 1.02, 0.08), "8f0f2a")
        shape(image, _box(-0.02, 0.07, 1.02, 0.09), "f4c542")
        return image

    return frame


def candy_land(rng: Rng) -> Frame:
    still = gradient((0, "ffb3dd"), (0.6, "fff0f7"), (1, "fff0f7"), tint=random_tint(rng, 0.02))
    for x, y in ((rng.uniform(0.1, 0.35), 0.12), (rng.uniform(0.6, 0.9), 0.2)):
        cloud(still, x, y, 0.06, "d9c4ff")
    shape(still, ridge(rng, 0.66, 0.03), "a6ecd2")
    shape(still, ridge(rng, 0.78, 0.025), "ff8fc4")
    spots = [(rng.uniform(0.03, 0.97), rng.uniform(0.86, 0.98), ("ffffff", "ffe066", "7ad7ff")[int(rng.integers(3))]) for _ in range(14)]
    for x, y, colour in spots:
        disc(still, x, y, 0.014, colour)
    canes = [(rng.uniform(0.1, 0.18), "ff3f74", 0.36, 1.0), (rng.uniform(0.82, 0.9), "8a4dff", 0.44, -1.0)]
    start = rng.uniform(0, 6.28)

    def frame(time: float) -> np.ndarray:
        image = still.copy()
        for x, colour, y, way in canes:
            shape(image, _box(x - 0.014, y, x + 0.014, 0.84), "ffffff")
            disc(image, x, y, 0.12, colour)
            for arm in range(4):
                out = np.linspace(0, 1, 12)
                turn = start + way * (6.28 * time / 4 + 2.2 * out) + arm * np.pi / 2
                edge = np.stack([x + 0.12 * out * np.cos(turn), y + 0.12 * out * np.sin(turn)], 1)
                back = np.stack([x + 0.12 * out * np.cos(turn + 0.8), y + 0.12 * out * np.sin(turn + 0.8)], 1)[::-1]
                shape(image, np.concatenate([edge, back]), "fff6fb")
        return image

    return frame
