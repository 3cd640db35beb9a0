"""Pictures drawn from nothing: dead leaves, soft scenes, flat cartoons, text-like marks. All are uint8 RGB arrays.

Dead leaves are the occlusion model of natural images (Lee, Mumford and Huang, "Occlusion Models for Natural Images",
2001): opaque shapes with radii by an inverse-cube law, the newest on top.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator


def colour(rng: Generator) -> np.ndarray:
    """A random RGB colour; most of them muted, as in photographs."""
    c = rng.uniform(0, 255, 3)
    if rng.random() < 0.65:
        c = c.mean() + (c - c.mean()) * rng.uniform(0.1, 0.6)
    return c


def gradient(rng: Generator, height: int, width: int) -> np.ndarray:
    """A linear or radial blend of two or three colours, float32."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        s = np.cos(angle) * x / width + np.sin(angle) * y / height
    else:
        s = np.hypot(x / width - rng.uniform(0, 1), y / height - rng.uniform(0, 1))
    s = (s - s.min()) / max(float(np.ptp(s)), 1e-6)
    stops = np.stack([colour(rng) for _ in range(rng.integers(2, 4))])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(s, at, stops[:, i]) for i in range(3)], -1).astype(np.float32)


def fractal(rng: Generator, height: int, width: int) -> np.ndarray:
    """1/f^a noise in one to three colour axes, float32."""
    power = rng.uniform(0.8, 2.0)
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    stretch = np.exp(rng.normal() * 0.7)
    amplitude = 1 / np.maximum(np.hypot(fy * stretch, fx / stretch), 1 / max(height, width)) ** power
    noise = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
        n = np.fft.irfft2(amplitude * phase, (height, width))
        noise.append((n - n.mean()) / (n.std() + 1e-9))
    grey = np.stack([noise[0]] * 3, -1)
    mixed = grey + rng.uniform(0, 0.6) * np.stack(noise, -1)
    return (colour(rng) + mixed * rng.uniform(5, 60) * (colour(rng) / 160 + 0.2)).astype(np.float32)


def stripes(rng: Generator, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(60)))
    s = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period + rng.uniform(0, 6))
    if rng.random() < 0.4:
        s = s * np.sin((-np.sin(angle) * x + np.cos(angle) * y) * 2 * np.pi / period)
    s = np.clip(s * rng.uniform(1, 6), -1, 1)[..., None]
    a, b = colour(rng), colour(rng)
    return ((a + b) / 2 + s * (a - b) / 2).astype(np.float32)


def flat(rng: Generator, height: int, width: int) -> np.ndarray:
    return np.broadcast_to(colour(rng).astype(np.float32), (height, width, 3)).copy()


def texture(rng: Generator, height: int, width: int) -> np.ndarray:
    kinds = (flat, gradient, fractal, stripes)
    return kinds[rng.choice(4, p=[0.25, 0.3, 0.3, 0.15])](rng, height, width)


def blob_mask(rng: Generator, size: int) -> np.ndarray:
    """A soft-edged random shape, float32 in [0,1]: ellipse, polygon or wobbly disc."""
    mask = np.zeros((size, size), np.uint8)
    centre, r = size / 2, size * 0.45
    kind = rng.integers(3)
    if kind == 0:
        axes = (int(r), max(2, int(r * rng.uniform(0.3, 1))))
        cv2.ellipse(mask, (int(centre), int(centre)), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    else:
        count = int(rng.integers(3, 8)) if kind == 1 else 48
        t = np.sort(rng.uniform(0, 2 * np.pi, count)) if kind == 1 else np.linspace(0, 2 * np.pi, count, endpoint=False)
        radius = r * (rng.uniform(0.5, 1, count) if kind == 1 else 1)
        if kind == 2:
            wobble = sum(rng.normal() * 0.25 / k * np.cos(k * t + rng.uniform(0, 6)) for k in range(2, 6))
            radius = r * np.clip(0.75 + wobble, 0.2, 1)
        points = np.stack([centre + radius * np.cos(t), centre + radius * np.sin(t)], -1)
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def lay(canvas: np.ndarray, patch: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Lays a square patch centred at (x, y) over the float canvas, in place."""
    n = mask.shape[0]
    x0, y0 = x - n // 2, y - n // 2
    a, b, c, d = max(0, -y0), min(n, canvas.shape[0] - y0), max(0, -x0), min(n, canvas.shape[1] - x0)
    if b <= a or d <= c:
        return
    m = mask[a:b, c:d, None]
    under = canvas[y0 + a : y0 + b, x0 + c : x0 + d]
    under += (patch[a:b, c:d] - under) * m


def finish(canvas: np.ndarray) -> np.ndarray:
    return np.clip(canvas, 0, 255).astype(np.uint8)


def dead_leaves(rng: Generator, size: int = 320) -> np.ndarray:
    canvas = texture(rng, size, size)
    for _ in range(rng.integers(40, 250)):
        radius = 6 / np.sqrt(rng.uniform((6 / 110) ** 2, 1))  # density of radii ~ r^-3
        n = int(2 * radius) + 2
        lay(canvas, texture(rng, n, n), blob_mask(rng, n), *rng.integers(0, size, 2))
    if rng.random() < 0.4:
        canvas += (fractal(rng, size, size) - 128) * rng.uniform(0.05, 0.3)
    return finish(canvas)


def scene(rng: Generator, size: int = 288) -> np.ndarray:
    """A soft landscape: sky, sun or moon, stars, clouds, hills, sea, trees, houses."""
    canvas = gradient(rng, size, size) if rng.random() < 0.3 else np.zeros((size, size, 3), np.float32)
    if not canvas.any():
        top, bottom = colour(rng), colour(rng)
        s = np.linspace(0, 1, size, dtype=np.float32)[:, None, None] ** np.float32(rng.uniform(0.5, 2))
        canvas = np.broadcast_to((top + (bottom - top) * s), (size, size, 3)).astype(np.float32).copy()
    if rng.random() < 0.35:
        canvas *= rng.uniform(0.15, 0.5)
        for _ in range(rng.integers(20, 120)):
            at = tuple(int(v) for v in rng.integers(0, size, 2))
            cv2.circle(canvas, at, int(rng.integers(1, 3)), tuple(rng.uniform(150, 255, 3)), -1, cv2.LINE_AA)
    if rng.random() < 0.6:
        x, y, r = int(rng.integers(0, size)), int(rng.integers(0, size // 2)), float(rng.uniform(8, 40))
        yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
        d = np.hypot(xx - x, yy - y)
        canvas += (np.exp(-((d / (r * 2.5)) ** 2)) * rng.uniform(0, 0.6))[..., None] * (colour(rng) - canvas)
        canvas += np.clip(r - d + 0.5, 0, 1)[..., None] * (rng.uniform(180, 255, 3) - canvas)
    for _ in range(rng.integers(0, 5)):
        x, y, white = rng.integers(0, size), rng.integers(0, size // 2), rng.uniform(180, 255)
        for _ in range(rng.integers(3, 7)):
            n = int(rng.integers(14, 50))
            mask = cv2.GaussianBlur(blob_mask(rng, n), (0, 0), rng.uniform(0.5, n / 8))
            lay(canvas, np.full((n, n, 3), white, np.float32), mask, x + int(rng.normal() * n / 2), y + int(rng.normal() * 5))
    for layer in range(rng.integers(0, 5)):
        x = np.arange(size)
        base = size * (0.45 + 0.12 * layer + rng.uniform(-0.05, 0.1))
        line = base + sum(rng.normal() * 16 / k * np.sin(x / size * 2 * np.pi * k + rng.uniform(0, 6)) for k in (1, 2, 3, 5))
        points = np.concatenate([np.stack([x, line], -1), [[size, size], [0, size]]])
        mask = np.zeros((size, size), np.uint8)
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        fill = gradient(rng, size, size) if rng.random() < 0.5 else texture(rng, size, size)
        lay(canvas, fill, mask.astype(np.float32) / 255, size // 2, size // 2)
    if rng.random() < 0.25:
        y = int(size * rng.uniform(0.5, 0.8))
        sea = gradient(rng, size - y, size)
        t = np.mgrid[0 : size - y, 0:size].astype(np.float32)
        sea += (np.sin(t[0] * rng.uniform(0.1, 0.6) + np.sin(t[1] * 0.05) * 2) * rng.uniform(2, 15))[..., None]
        canvas[y:] = sea
    for _ in range(rng.integers(0, 10)):
        x, y, h = int(rng.integers(0, size)), int(rng.integers(size // 2, size)), int(rng.integers(15, 70))
        ink = tuple(float(v) for v in colour(rng))
        if rng.random() < 0.5:
            points = np.array([[x - h // 3, y], [x + h // 3, y], [x, y - h]])
            cv2.fillPoly(canvas, [points], ink, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x - h // 3, y - h), (x + h // 3, y), ink, -1)
            for wy in range(y - h + 4, y - 6, 10):
                for wx in range(x - h // 3 + 3, x + h // 3 - 5, 9):
                    cv2.rectangle(canvas, (wx, wy), (wx + 4, wy + 5), (250, 230, 150), -1)
    return finish(canvas)


def cartoon(rng: Generator, size: int = 288) -> np.ndarray:
    """Flat areas with and without outlines, thin lines and text-like marks."""
    canvas = flat(rng, size, size) if rng.random() < 0.6 else gradient(rng, size, size)
    for _ in range(rng.integers(3, 25)):
        n = int(rng.integers(16, 140))
        mask, at = blob_mask(rng, n), rng.integers(0, size, 2)
        if rng.random() < 0.4:
            wide = cv2.dilate(mask, np.ones((3, 3)), iterations=int(rng.integers(1, 3)))
            lay(canvas, np.zeros((n, n, 3), np.float32), wide, *at)
        lay(canvas, flat(rng, n, n) if rng.random() < 0.7 else gradient(rng, n, n), mask, *at)
    for _ in range(rng.integers(0, 12)):
        a, b = (tuple(int(v) for v in rng.integers(0, size, 2)) for _ in range(2))
        cv2.line(canvas, a, b, tuple(colour(rng)), int(rng.integers(1, 5)), cv2.LINE_AA)
    picture = finish(canvas)
    letters = "ABCDEFGHKLMNPRSTUVWXYZabcdefghkmnopqrstuvwxyz0123456789!?&+"
    for _ in range(rng.integers(0, 7)):
        word = "".join(rng.choice(list(letters), rng.integers(1, 9)))
        at = tuple(int(v) for v in rng.integers(0, size, 2))
        face = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
        scale, thick = float(rng.uniform(0.5, 3)), int(rng.integers(1, 6))
        cv2.putText(picture, word, at, face, scale, tuple(colour(rng)), thick, cv2.LINE_AA)
    return picture
