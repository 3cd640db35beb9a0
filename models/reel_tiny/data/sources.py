"""Reads the prepared pictures, sprites and clips into memory, as uint8 arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .prepare import HELD_OUT_CLIPS, PARTLY_HELD_OUT, fetched

cv2.setNumThreads(1)
CLIPART_FOLDERS = "animals buildings food plants people recreation transportation tools office".split()


def shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    """The image with its short side at most `short_side`."""
    scale = short_side / min(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def read_picture(path: Path) -> np.ndarray:
    """RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"Expected a picture at {path}, got none. Run reel_tiny.data.prepare again.")
    return image[:, :, ::-1].copy()


def read_video(path: Path, short_side: int | None = None, count: int | None = None) -> list[np.ndarray]:
    """The first `count` frames (all, if none is given), RGB, shrunk to the short side if one is given."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while count is None or len(frames) < count:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append((frame if short_side is None else shrink(frame, short_side))[:, :, ::-1].copy())
    if not frames:
        raise ValueError(f"Expected {path} to be a video, got no frames. Run reel_tiny.data.prepare again.")
    return frames


def load_photos(data: Path, short_side: int = 480) -> list[np.ndarray]:
    return [shrink(read_picture(path), short_side) for path in fetched("photos", data)]


def load_sprites(data: Path, count: int, seed: int) -> list[np.ndarray]:
    """RGBA, long side at most 144: half 3D emoji, half clip art."""
    emoji = sorted((data / "fluent-emoji-3d/package/assets").glob("*.webp"))
    root = data / "openclipart-png/usr/share/openclipart/png"
    clipart = sorted(p for folder in CLIPART_FOLDERS for p in (root / folder).rglob("*.png"))
    rng = np.random.default_rng(seed)
    chosen = [*rng.permutation(np.array(emoji, object))[: count // 2]]
    chosen += [*rng.permutation(np.array(clipart, object))[: count // 2]]
    sprites = []
    for path in chosen:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
            continue
        scale = 144 / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if min(image.shape[:2]) >= 24:
            sprites.append(image[:, :, [2, 1, 0, 3]].copy())
    return sprites


def load_training_clips(data: Path, clips: Path, short_side: int = 360) -> list[list[np.ndarray]]:
    videos = [read_video(path, short_side) for path in fetched("clips", data)]
    for path in sorted(p for p in clips.iterdir() if p.suffix in (".mp4", ".mkv")):
        if path.name in HELD_OUT_CLIPS:
            continue
        frames = read_video(path, short_side)
        videos.append(frames[: int(len(frames) * PARTLY_HELD_OUT.get(path.name, 1))])
    return videos
