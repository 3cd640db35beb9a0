"""Endless training clips [T,S,S,3] uint8: real clips, photos and drawings under a moving camera, sprites on top, the small world, and
everything that breaks a causal VAE when it never saw it (cuts, flashes, black, noise, stills, fast pans)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..world.render import render
from ..world.sampling import sample_spec
from ..world.things import ASSETS
from . import paint
from .sources import load_photos, load_sprites, load_training_clips


def pyramid(image: np.ndarray) -> list[np.ndarray]:
    levels = [image]
    while min(levels[-1].shape[:2]) > 90:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def camera(rng: np.random.Generator, levels: list[np.ndarray], frames: int, size: int, speed: float) -> np.ndarray:
    """A view of `size` square moving over a picture; speed in pixels of the view a frame."""
    height, width = levels[0].shape[:2]
    least = max(0.22, 0.75 * size / min(height, width))
    zoom = np.exp(rng.uniform(np.log(least), np.log(max(1.2, 1.3 * least))))
    grow, turn = rng.normal() * 0.004 * min(speed, 2), rng.normal() * 0.01 * min(speed, 2)
    angle = rng.normal() * 0.15
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    vx, vy = rng.normal(size=2) * speed
    shake = rng.normal(size=(frames, 2)) * (rng.uniform(0, 1) if rng.random() < 0.15 else 0)
    out = np.empty((frames, size, size, 3), np.uint8)
    for t in range(frames):
        z, a = zoom * np.exp(grow * t), angle + turn * t
        level = int(np.clip(np.floor(np.log2(1 / z) + 0.4), 0, len(levels) - 1))
        image = levels[level]
        k = 2.0**level
        cx, cy = (x + (vx * t + shake[t, 0]) / z) / k, (y + (vy * t + shake[t, 1]) / z) / k
        c, s = np.cos(a) * z * k, np.sin(a) * z * k
        matrix = np.array([[c, -s, size / 2 - c * cx + s * cy], [s, c, size / 2 - s * cx - c * cy]])
        out[t] = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return out


# Share of the small world among clips without mishaps.
WORLD = 0.3


class ClipRenderer:
    def __init__(self, data: Path, clips: Path, seed: int, sprite_count: int = 1600, drawn_count: int = 160):
        self.assets = str(data / ASSETS)
        self.photos = [pyramid(p) for p in load_photos(data)]
        self.sprites = load_sprites(data, sprite_count, seed)
        self.videos = load_training_clips(data, clips)
        self.begin(seed, drawn_count)

    def begin(self, seed: int | list[int], drawn_count: int = 160) -> None:
        """Drawings of its own and a course of its own for each seed."""
        self.rng = rng = np.random.default_rng(seed)
        self.leaves = [pyramid(paint.dead_leaves(rng)) for _ in range(drawn_count)]
        self.scenes = [pyramid(paint.scene(rng)) for _ in range(2 * drawn_count)]
        self.cartoons = [pyramid(paint.cartoon(rng)) for _ in range(drawn_count)]

    def pick(self, items: list):
        return items[self.rng.integers(len(items))]

    def leaf_sprite(self) -> np.ndarray:
        """RGBA: a random shape filled from a photo or a drawing."""
        n = int(self.rng.integers(40, 140))
        image = self.pick(self.photos if self.rng.random() < 0.5 else self.leaves)[0]
        y, x = self.rng.integers(0, image.shape[0] - min(n, image.shape[0]) + 1), self.rng.integers(0, image.shape[1] - min(n, image.shape[1]) + 1)
        patch = cv2.resize(image[y : y + n, x : x + n], (n, n))
        return np.dstack([patch, (paint.blob_mask(self.rng, n) * 255).astype(np.uint8)])

    def add_sprite(self, out: np.ndarray, sprite: np.ndarray, speed: float = 1.5) -> None:
        """Moves an RGBA sprite over the clip, in place: drifting, swinging, spinning, growing or still."""
        rng = self.rng
        frames, size = out.shape[:2]
        longest = rng.uniform(0.2, 1.1) * min(size, 72) * (1 if rng.random() < 0.8 else 1.5)
        scale = longest / max(sprite.shape[:2])
        if scale < 0.9:
            sprite = cv2.resize(sprite, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            scale = 1.0
        height, width = sprite.shape[:2]
        alpha = sprite[..., 3:].astype(np.float32) / 255
        premultiplied = np.dstack([sprite[..., :3] * alpha, alpha * 255]).astype(np.float32)
        x, y = rng.uniform(0, size, 2)
        vx, vy = rng.normal(size=2) * speed * (rng.random() < 0.85)
        swing, rate, phase = rng.uniform(0, 8) * (rng.random() < 0.3), rng.uniform(0.1, 0.8), rng.uniform(0, 6)
        angle, turn = rng.normal() * 0.4, rng.normal() * 0.06 * (rng.random() < 0.5)
        grow = rng.normal() * 0.015 * (rng.random() < 0.3)
        mirror = -1 if rng.random() < 0.5 else 1
        for t in range(frames):
            z, a = scale * np.exp(grow * t), angle + turn * t
            c, s = np.cos(a) * z, np.sin(a) * z
            px, py = x + vx * t, y + vy * t + swing * np.sin(rate * t + phase)
            matrix = np.array([[c * mirror, -s, px], [s * mirror, c, py]])
            matrix[:, 2] -= matrix[:, :2] @ (width / 2, height / 2)
            layer = cv2.warpAffine(premultiplied, matrix, (size, size), flags=cv2.INTER_LINEAR)
            out[t] = layer[..., :3] + out[t] * (1 - layer[..., 3:] / 255)

    def real(self, frames: int, size: int) -> np.ndarray:
        rng = self.rng
        video = self.pick(self.videos)
        stride = min(int(rng.choice([1, 1, 2, 3])), (len(video) - 1) // frames)
        start = rng.integers(0, len(video) - frames * stride)
        height, width = video[0].shape[:2]
        # Mostly small: that is where a recording is richest in detail.
        smallest, largest = max(size, 110) / height, max(size, 300) / height
        scale = smallest * (largest / smallest) ** (rng.random() ** 2)
        h, w = max(size, round(height * scale)), max(size, round(width * scale))
        y, x = rng.integers(0, h - size + 1), rng.integers(0, w - size + 1)
        picked = [video[start + i * stride] for i in range(frames)]
        return np.stack([cv2.resize(f, (w, h), interpolation=cv2.INTER_AREA)[y : y + size, x : x + size] for f in picked])

    def world(self, frames: int, size: int) -> np.ndarray:
        """A part of a clip of the small world, half of them in a style."""
        rng = self.rng
        clip = render(sample_spec(rng, styled=0.5), self.assets)
        t, y, x = (int(rng.integers(whole - part + 1)) for whole, part in zip(clip.shape, (frames, size, size), strict=False))
        return clip[t : t + frames, y : y + size, x : x + size].copy()

    def plain(self, frames: int, size: int) -> np.ndarray:
        """A clip without mishaps."""
        rng = self.rng
        if rng.random() < WORLD:
            return self.world(frames, size)
        kind = rng.random()
        if kind < 0.27:
            return self.real(frames, size)
        speed = rng.exponential(1.6) * (rng.random() < 0.8)
        if kind < 0.65:
            out = camera(rng, self.pick(self.photos), frames, size, speed)
            for _ in range(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1])):
                self.add_sprite(out, self.leaf_sprite() if rng.random() < 0.6 else self.pick(self.sprites))
        elif kind < 0.78:
            still = rng.random() < 0.6
            out = camera(rng, self.pick(self.scenes), frames, size, 0 if still else speed)
            for _ in range(rng.choice(4, p=[0.1, 0.6, 0.2, 0.1])):
                self.add_sprite(out, self.pick(self.sprites))
        elif kind < 0.93:
            out = camera(rng, self.pick(self.leaves), frames, size, speed)
            for _ in range(rng.choice(4, p=[0.3, 0.3, 0.2, 0.2])):
                self.add_sprite(out, self.leaf_sprite(), 2)
        else:
            out = camera(rng, self.pick(self.cartoons), frames, size, speed)
            for _ in range(rng.choice(3, p=[0.5, 0.3, 0.2])):
                self.add_sprite(out, self.pick(self.sprites))
        return out

    def monotone(self, frames: int, size: int) -> np.ndarray:
        """Black, white, one colour, or noise."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.3:
            return np.full((frames, size, size, 3), rng.choice([0, 255]), np.uint8)
        if kind < 0.5:
            return np.broadcast_to(paint.colour(rng).astype(np.uint8), (frames, size, size, 3)).copy()
        if kind < 0.75:
            return rng.integers(0, 256, (frames, size, size, 3), np.uint8)
        grain = rng.normal(size=(frames, size, size, 1 if rng.random() < 0.5 else 3)) * rng.uniform(5, 60)
        return np.clip(grain + paint.colour(rng), 0, 255).astype(np.uint8)

    def mishap(self, frames: int, size: int) -> np.ndarray:
        rng, kind = self.rng, self.rng.choice(7, p=[0.24, 0.28, 0.18, 0.08, 0.08, 0.08, 0.06])
        out = self.plain(frames, size)
        cut = int(rng.integers(1, frames))
        if kind == 0:  # hard cut, sometimes two
            out[cut:] = self.plain(frames, size)[cut:]
            if rng.random() < 0.3:
                again = int(rng.integers(1, frames))
                out[again:] = self.plain(frames, size)[again:]
        elif kind == 1:  # flash
            last = min(frames, cut + int(rng.integers(1, 4)))
            lit = out[cut:last] + (255.0 - out[cut:last]) * rng.uniform(0.4, 1)
            out[cut:last] = lit.astype(np.uint8) if rng.random() < 0.7 else out[cut:last] // 4
        elif kind == 2:  # one-colour or noise frames before or after a cut
            part = slice(cut, None) if rng.random() < 0.5 else slice(0, cut)
            out[part] = self.monotone(frames, size)[part]
        elif kind == 3:  # cross-fade or fade to black
            other = self.plain(frames, size) if rng.random() < 0.6 else np.zeros_like(out)
            share = np.clip((np.arange(frames) - cut) / rng.uniform(2, frames), 0, 1)[:, None, None, None]
            out = (out * (1 - share) + other * share).astype(np.uint8)
        elif kind == 4:  # fast pan
            out = camera(rng, self.pick(self.photos), frames, size, rng.uniform(5, 14))
        elif kind == 5:  # still
            out[:] = out[:1]
        else:  # grain
            out = np.clip(out + rng.normal(size=out.shape) * rng.uniform(2, 20), 0, 255).astype(np.uint8)
        return out

    def clip(self, frames: int, size: int) -> np.ndarray:
        u = self.rng.random()
        if u < 0.02:
            return self.monotone(frames, size)
        return self.mishap(frames, size) if u < 0.22 else self.plain(frames, size)
