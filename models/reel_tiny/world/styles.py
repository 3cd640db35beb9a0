"""Looks, as image filters: each takes and returns uint8 RGB [H, W, 3] of any size, and keeps the structure of the picture.

Frames of a clip are filtered one by one with nothing drawn at random, so a still region stays still.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _edges(image: np.ndarray, blur: float = 1.0) -> np.ndarray:
    """Edge strength float32 [H, W] in [0, 1]: the largest Sobel magnitude over the colour channels."""
    soft = cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32) / 255.0
    across = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3)
    along = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3)
    return np.clip(np.sqrt(across**2 + along**2).max(-1), 0, 1)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _smooth(image: np.ndarray, rounds: int) -> np.ndarray:
    for _ in range(rounds):
        image = cv2.bilateralFilter(image, 7, 40, 4)
    return image


def pencil(image: np.ndarray) -> np.ndarray:
    """Dark strokes on warm paper: a colour-dodge sketch with the edges drawn over it."""
    grey = _grey(image).astype(np.float32)
    blurred = 255.0 - cv2.GaussianBlur(255.0 - grey, (0, 0), 3.0)
    dodge = np.clip(grey / np.maximum(blurred, 1.0), 0, 1)
    tone = 0.8 + 0.2 * cv2.GaussianBlur(grey, (0, 0), 1.5) / 255.0
    strokes = 1.0 - np.clip(_edges(image) * 1.3 - 0.1, 0, 0.8)
    paper = np.array([0.98, 0.97, 0.94], np.float32)
    return _bytes((dodge * tone * strokes)[..., None] * paper)


def watercolor(image: np.ndarray) -> np.ndarray:
    """Flat washes, bleached towards white paper, with pigment gathered at the borders."""
    wash = cv2.medianBlur(_smooth(image, 2), 5).astype(np.float32) / 255.0
    rim = cv2.GaussianBlur(_edges((wash * 255).astype(np.uint8), 1.2), (0, 0), 0.8)
    hsv = cv2.cvtColor(wash, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 0.8, 0, 1)
    pale = 0.3 + 0.7 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return _bytes(pale * (1.0 - 0.35 * np.clip(rim * 1.5, 0, 1))[..., None])


def comic(image: np.ndarray) -> np.ndarray:
    """Few flat, strong colours inside black outlines."""
    flat = _smooth(image, 2).astype(np.float32) / 255.0
    hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.45, 0, 1)
    hsv[..., 2] = np.clip((np.floor(hsv[..., 2] * 4.0) + 0.95) / 4.2, 0, 1)
    ink = np.clip((_edges(image) - 0.22) * 5.0, 0, 1)
    return _bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * (1.0 - ink)[..., None])


def pixel_art(image: np.ndarray) -> np.ndarray:
    """Blocks a thirty-second of the short side wide that stand out from their neighbours, in stronger colours.

    Nothing is rounded to a palette: where a level ends decides over whole areas, which from latents can't be told.
    """
    height, width = image.shape[:2]
    block = max(2, round(min(height, width) / 32))
    small = cv2.resize(image, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    sharp = np.clip(2.0 * small - cv2.GaussianBlur(small, (0, 0), 1.2), 0, 1)
    hsv = cv2.cvtColor(sharp, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.25, 0, 1)
    return _bytes(cv2.resize(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), (width, height), interpolation=cv2.INTER_NEAREST))


def neon(image: np.ndarray) -> np.ndarray:
    """Edges that glow in their own bright colour on near black."""
    edge = np.clip(_edges(image) * 2.2 - 0.1, 0, 1)
    hsv = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.float32) / 255.0, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.5 + 0.35, 0, 1)
    hsv[..., 2] = 1.0
    light = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * edge[..., None]
    halo = cv2.GaussianBlur(light, (0, 0), 3.0)
    return _bytes(np.array([0.03, 0.02, 0.09], np.float32) + light + 0.8 * halo)


def sepia(image: np.ndarray) -> np.ndarray:
    """An old brown photograph with dark corners."""
    height, width = image.shape[:2]
    grey = np.clip((_grey(image).astype(np.float32) / 255.0 - 0.5) * 1.1 + 0.52, 0, 1)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    away = ((xs / width - 0.5) ** 2 + (ys / height - 0.5) ** 2) * 2.0
    dark, bright = np.array([0.16, 0.09, 0.04], np.float32), np.array([1.0, 0.92, 0.74], np.float32)
    return _bytes((dark + (bright - dark) * grey[..., None]) * (1.0 - 0.45 * away)[..., None])


def night(image: np.ndarray) -> np.ndarray:
    """The same place by moonlight: dark, blue, highlights kept."""
    grey = _grey(image).astype(np.float32)[..., None] / 255.0
    colour = 0.45 * image.astype(np.float32) / 255.0 + 0.55 * grey
    moon = np.array([0.30, 0.42, 0.80], np.float32)
    return _bytes(0.02 + colour**1.5 * moon)


def thermal(image: np.ndarray) -> np.ndarray:
    """Brightness as heat: black, purple, red, orange, yellow, white."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    return table[cv2.GaussianBlur(_grey(image), (0, 0), 0.8)]


def none(image: np.ndarray) -> np.ndarray:
    """The picture as it is."""
    return image


STYLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": none,
    "pencil": pencil,
    "watercolor": watercolor,
    "comic": comic,
    "pixel": pixel_art,
    "neon": neon,
    "sepia": sepia,
    "night": night,
    "thermal": thermal,
}
STYLE_NAMES = tuple(STYLES)
