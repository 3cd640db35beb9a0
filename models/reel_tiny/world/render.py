"""Renders clips of the small world: a thing on a scene, moving, in a style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .drawing import SIZE, Frame
from .motions import MOTIONS, Path
from .scenes import SCENES
from .styles import STYLES
from .things import sprite

FRAMES = 25
FRAME_RATE = 12


@dataclass(frozen=True)
class Spec:
    """What a clip shows. `thing` None is the scene alone; `seed` settles whatever the names leave open."""

    thing: str | None
    scene: str
    motion: str
    style: str
    seed: int


def _paste(frame: np.ndarray, picture: np.ndarray, pose: tuple[float, float, float, float]) -> np.ndarray:
    x, y, size, degrees = pose
    side = picture.shape[0]
    scale = size * SIZE / side
    source = picture
    # Shrinking by more than half aliases under bilinear sampling, so it is done by area first.
    if scale < 0.5:
        side = max(2, round(side * scale * 1.5))
        source = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        scale = size * SIZE / side
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, scale)
    matrix[:, 2] += np.array([x * SIZE - 0.5, y * SIZE - 0.5]) - (side - 1) / 2
    layer = cv2.warpAffine(source, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    # Outside this square, turned as it may be, nothing of the picture is left to mix in.
    reach = 0.71 * size * SIZE + 2
    near = tuple(slice(max(0, int(at * SIZE - reach)), max(0, int(at * SIZE + reach) + 1)) for at in (y, x))
    mixed = frame[near] * (1.0 - layer[near][..., 3:]) + layer[near][..., :3] * 255.0
    pasted = frame.copy()
    pasted[near] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return pasted


def extent(path: Path) -> tuple[float, float, float, float]:
    """left, top, right, bottom of everywhere the thing gets to, as fractions of the frame, within [0, 1]."""
    poses = [path(index / (FRAMES - 1)) for index in range(FRAMES)]
    # A turned square reaches further than its side; the things are rounder than that.
    reach = [0.55 * size for _, _, size, _ in poses]
    left = min(pose[0] - r for pose, r in zip(poses, reach, strict=True))
    top = min(pose[1] - r for pose, r in zip(poses, reach, strict=True))
    right = max(pose[0] + r for pose, r in zip(poses, reach, strict=True))
    bottom = max(pose[1] + r for pose, r in zip(poses, reach, strict=True))
    return max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)


def layout(spec: Spec) -> tuple[Frame, Path]:
    """The scene and the course of the thing, with all that `spec.seed` settles."""
    rng = np.random.default_rng([spec.seed, 7])
    return SCENES[spec.scene](rng), MOTIONS[spec.motion](rng)


def paste_over(backdrop: np.ndarray, thing: str, path: Path, assets: str, moments: Sequence[float] | None = None) -> np.ndarray:
    """`backdrop` uint8 [T, 128, 128, 3] with the thing moving over it; `moments`: when each frame is, as a share of a clip."""
    picture = sprite(assets, thing)
    times = [index / (FRAMES - 1) for index in range(len(backdrop))] if moments is None else moments
    return np.stack([_paste(image, picture, path(time)) for image, time in zip(backdrop, times, strict=True)])


def render(spec: Spec, assets: str, frames: int = FRAMES, moments: Sequence[float] | None = None) -> np.ndarray:
    """uint8 RGB [frames, 128, 128, 3], or a frame for each of `moments`, as shares of a clip. `assets`: folder of the emoji package's pictures."""
    scene, path = layout(spec)
    times = [index / (FRAMES - 1) for index in range(frames)] if moments is None else moments
    clip = np.stack([scene(time) for time in times])
    if spec.thing is not None:
        clip = paste_over(clip, spec.thing, path, assets, times)
    style = STYLES[spec.style]
    return clip if spec.style == "none" else np.stack([style(image) for image in clip])
