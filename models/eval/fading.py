"""Whether what lies between two still pictures shows one picture at each place, or both through each other.

The judge alone can't tell: of plain cross-fades between pictures of one scene it takes nearly all frames for whole ones.
"""

from __future__ import annotations

import numpy as np

# Pixels a side of the blocks that are looked at.
BLOCK = 16
# A frame nearer to an end than this share of what the ends differ by is no in-between; a block that shows less than that of either shows the other.
NEAR = 0.2
# A block shows both where what no mixture of the ends explains is less than this share of what such a mixture is off both ends by.
UNEXPLAINED = 0.35


def _blocks(frames: np.ndarray) -> np.ndarray:
    """[T, blocks, numbers of a block] of uint8 [T, H, W, 3]."""
    count, height, width, channels = frames.shape
    rows, columns = height // BLOCK, width // BLOCK
    blocks = frames[:, : rows * BLOCK, : columns * BLOCK].astype(np.float64).reshape(count, rows, BLOCK, columns, BLOCK, channels)
    return blocks.swapaxes(2, 3).reshape(count, rows * columns, -1)


def between(clip: np.ndarray) -> np.ndarray:
    """Which frames of uint8 [T, H, W, 3] are unlike the first and the last one."""
    frames = clip.astype(np.float64).reshape(len(clip), -1)
    apart = np.linalg.norm(frames[-1] - frames[0])
    return (np.linalg.norm(frames - frames[0], axis=1) >= NEAR * apart) & (np.linalg.norm(frames - frames[-1], axis=1) >= NEAR * apart)


def shows_both(clip: np.ndarray) -> np.ndarray:
    """How much of what the first and the last frame of uint8 [T, H, W, 3] differ by shows both of them at once, for each frame."""
    blocks = _blocks(clip)
    change = blocks[-1] - blocks[0]
    size = np.maximum(np.square(change).sum(1), 1e-9)
    share = ((blocks - blocks[0]) * change).sum(2) / size
    unexplained = np.square(blocks - blocks[0] - share[:, :, None] * change).sum(2) / size
    mixed = (share > NEAR) & (share < 1 - NEAR) & (unexplained < UNEXPLAINED * share * (1 - share))
    return (mixed * size).sum(1) / size.sum()


def cross_fade(clip: np.ndarray) -> np.ndarray:
    """A cross-fade of the first frame into the last one, as long."""
    shares = np.linspace(0, 1, len(clip))[:, None, None, None]
    return np.round((1 - shares) * clip[0] + shares * clip[-1]).astype(np.uint8)
