"""Clips as arrays uint8 [T, H, W, 3]: cut to shape, read, written, compared."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np


def crop(frames: list[np.ndarray]) -> np.ndarray:
    """[T,H,W,3] with sides that are multiples of 8 and 4k+1 frames, taken from the middle and the start."""
    clip = np.stack(frames)
    count, height, width, _ = clip.shape
    h, w = height // 8 * 8, width // 8 * 8
    y, x = (height - h) // 2, (width - w) // 2
    return clip[: (count - 1) // 4 * 4 + 1, y : y + h, x : x + w]


def square(frames: list[np.ndarray], side: int, count: int) -> np.ndarray:
    """The middle square of the first `count` frames, scaled to `side`."""
    frames = frames[:count]
    edge = min(frames[0].shape[:2])
    y, x = (frames[0].shape[0] - edge) // 2, (frames[0].shape[1] - edge) // 2
    return np.stack([cv2.resize(f[y : y + edge, x : x + edge], (side, side), interpolation=cv2.INTER_AREA) for f in frames])


def strip(clip: np.ndarray, count: int) -> np.ndarray:
    """`count` frames, evenly over the clip, side by side."""
    picked = np.linspace(0, len(clip) - 1, count).round().astype(int)
    return np.concatenate([clip[i] for i in picked], 1)


def read_folder(folder: Path) -> np.ndarray:
    """The PNGs of a folder, in the order of their names."""
    return np.stack([cv2.imread(str(path))[:, :, ::-1] for path in sorted(folder.glob("*.png"))])


def write_picture(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), picture[:, :, ::-1], quality)


def write_clip(clip: np.ndarray, path: Path, frame_rate: int) -> None:
    """A lossless RGB video in `path`, a .mkv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = clip.shape[1:3]
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {frame_rate} -i -".split()
    command = ["ffmpeg", "-y", "-v", "error", *source, "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path)]
    subprocess.run(command, input=np.ascontiguousarray(clip).tobytes(), check=True)


def motion_steps(clip: np.ndarray) -> np.ndarray:
    """How much each frame differs from the one before: the mean absolute difference, in grey levels."""
    return np.abs(np.diff(clip.astype(np.float32), axis=0)).mean((1, 2, 3))


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """dB of each frame, of uint8 [T,H,W,3]; equal frames count as 60."""
    error = np.square(a.astype(np.float32) - b).mean((1, 2, 3))
    return np.minimum(60.0, 10 * np.log10(255**2 / np.maximum(error, 1e-9)))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM of each frame's luma (Wang et al. 2004: 11x11 Gaussian of sigma 1.5)."""
    scores = []
    for x, y in zip(a, b, strict=True):
        x, y = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float64) for i in (x, y))

        def mean(v: np.ndarray) -> np.ndarray:
            return cv2.GaussianBlur(v, (11, 11), 1.5)[5:-5, 5:-5]

        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        scores.append(((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())
    return np.array(scores)
