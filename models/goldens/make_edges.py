"""Pictures and the edges that OpenCV finds in them: test/goldens/edges.safetensors. Needs opencv-python-headless.

    python goldens/make_edges.py

cv2.Canny(picture, 100, 200) as diffusers' ControlNet pages call it: a Sobel kernel of 3, the sum of both derivatives' sizes.
"""

from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

OUT = Path(__file__).parents[2] / "test" / "goldens" / "edges.safetensors"
LOW, HIGH = 100, 200


def smooth(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Coloured noise whose levels use the whole range."""
    noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
    return ((noise - noise.min()) / (noise.max() - noise.min()) * 255).round().astype(np.uint8)


def drawn() -> np.ndarray:
    picture = np.full((48, 61, 3), 30, np.uint8)
    cv2.circle(picture, (20, 22), 13, (200, 40, 90), -1)
    cv2.line(picture, (5, 44), (58, 3), (250, 250, 20), 3)
    cv2.rectangle(picture, (40, 25), (60, 47), (60, 61, 200), -1)
    return picture


def main() -> None:
    rng = np.random.default_rng(7)
    pictures = {
        "drawn": drawn(),
        "noise": rng.integers(0, 256, (33, 40, 3), dtype=np.uint8),
        "faint": (rng.integers(0, 256, (24, 31, 3)) // 6).astype(np.uint8),
        "soft": smooth(rng, 50, 37, 2.0),
        "softer": smooth(rng, 37, 50, 3.5),
        "row": rng.integers(0, 256, (1, 20, 3), dtype=np.uint8),
        "column": rng.integers(0, 256, (20, 1, 3), dtype=np.uint8),
    }
    arrays = {}
    for name, picture in pictures.items():
        edges = cv2.Canny(picture, LOW, HIGH)
        print(f"{name}: {picture.shape}, {(edges > 0).mean():.0%} edges")
        arrays |= {f"{name}.picture": picture, f"{name}.edges": edges}
    save_file(arrays, OUT)


if __name__ == "__main__":
    main()
