"""Judges the exported VAE as the runtime uses it: streamed through onnxruntime, frame for frame.

    python -m eval.vae --bundle reel-tiny --data DIR --clips DIR [--pictures DIR]

Prints PSNR and SSIM over real clips that were held out of training (short side 128, 4k+1 frames), and the worst frame
of clips made to break it: a hard cut, a flash, black, white, noise, a still, a fast pan.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from reel_tiny.data.prepare import HELD_OUT_CLIPS, PARTLY_HELD_OUT
from reel_tiny.data.sources import read_video
from reel_tiny.vae.stream import VaeStream

from .clips import crop, psnr, ssim

SHORT_SIDE = 128
LONGEST = 161


def held_out_paths(data: Path, clips: Path, whole: bool = True) -> list[Path]:
    """Recordings that were never trained on; with `whole` False, those too whose end alone was held out."""
    opencv = data / "opencv-doc/usr/share/doc/opencv-doc/examples/data"
    partly = [] if whole else [clips / name for name in PARTLY_HELD_OUT]
    found = [clips / name for name in HELD_OUT_CLIPS] + partly
    return [*found, opencv / "tree.avi", opencv / "vtest.avi", data / "videoTeacup720p.mp4", data / "videoFire1080p.mp4"]


def held_out_clips(data: Path, clips: Path) -> dict[str, np.ndarray]:
    """Clips by name; of the longest only the first LONGEST held-out frames."""
    found = {}
    for path in held_out_paths(data, clips, whole=False):
        frames = read_video(path, SHORT_SIDE)
        start = int(len(frames) * PARTLY_HELD_OUT.get(path.name, 0))
        found[path.stem] = crop(frames[start : start + LONGEST])
    return found


class HardCase(NamedTuple):
    """A clip made to break a VAE: which of its frames should be as good as usual, and which recording each frame shows."""

    clip: np.ndarray
    usual: np.ndarray
    shown: np.ndarray

    def lag(self, scores: np.ndarray) -> np.ndarray:
        """How far each frame's PSNR lies from the median of those that show the same recording: one may be harder than another."""
        medians = {recording: np.median(scores[self.shown == recording]) for recording in np.unique(self.shown)}
        return scores - np.array([medians[recording] for recording in self.shown])


def hard_cases(clips: dict[str, np.ndarray]) -> dict[str, HardCase]:
    """Clips by name."""
    rng = np.random.default_rng(0)
    size = 128
    a = clips["sign-bird"][:45, :size, 16 : 16 + size]
    b = clips["tree"][:45, :size, 16 : 16 + size]

    def whole(clip: np.ndarray, shown: np.ndarray | None = None) -> HardCase:
        return HardCase(clip, np.ones(len(clip), bool), np.zeros(len(clip), int) if shown is None else shown)

    def broken(first: int, last: int, pixels: np.ndarray | int) -> HardCase:
        case = whole(a.copy())
        case.clip[first:last], case.usual[first:last] = pixels, False
        return case

    picture = np.tile(clips["videoFire1080p"][0], (1, 3, 1))
    picture[:, picture.shape[1] // 3 :] = np.tile(clips["tree"][0], (1, 3, 1))[: picture.shape[0], : picture.shape[1] * 2 // 3]
    pan = np.stack([picture[:size, 10 * t : 10 * t + size] for t in range(45) if 10 * t + size <= picture.shape[1]])
    pan = pan[: (len(pan) - 1) // 4 * 4 + 1]
    cut = a.copy()
    cut[22:] = b[22:]
    both = [clips[name][:, :size, 16 : 16 + size] for name in ("sign-bird", "tree")]

    def there_and_back(one: np.ndarray) -> np.ndarray:
        return np.concatenate([one, one[::-1], one])[:301]

    long = whole(*(there_and_back(one) for one in (np.concatenate(both), np.repeat((0, 1), [len(one) for one in both]))))
    return {
        "hard cut": whole(cut, np.repeat((0, 1), (22, 23))),
        "flash (2 white frames)": broken(22, 24, 255),
        "8 black frames": broken(18, 26, 0),
        "8 white frames": broken(18, 26, 255),
        "8 noise frames": broken(18, 26, rng.integers(0, 256, (8, size, size, 3), np.uint8)),
        "black throughout": whole(np.zeros_like(a)),
        "white throughout": whole(np.full_like(a, 255)),
        "still": whole(np.repeat(a[:1], 45, 0)),
        "fast pan (10 px a frame)": whole(pan),
        "301 frames, there and back": long,
    }


def compare(original: np.ndarray, decoded: np.ndarray, picks: list[int]) -> np.ndarray:
    """The picked frames, original above decoded."""
    return np.concatenate([np.concatenate([c[i] for i in picks], 1) for c in (original, decoded)], 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what reel_tiny.data.prepare made")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="writes round trips side by side here, as PNG")
    parser.add_argument("--chunk", type=int, default=8, help="frames a call")
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    stream = VaeStream(a.bundle, a.threads)
    clips = held_out_clips(a.data, a.clips)

    def picture(name: str, original: np.ndarray, decoded: np.ndarray, picks: list[int]) -> None:
        if a.pictures is not None:
            a.pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(a.pictures / f"{name}.png"), compare(original, decoded, picks)[:, :, ::-1])

    print(f"{'held-out clip':28} {'frames':>6} {'size':>9} {'PSNR':>6} {'worst':>6} {'SSIM':>6}")
    rows = {}
    for name, clip in clips.items():
        decoded = stream.round_trip(clip, a.chunk)
        p, s = psnr(decoded, clip), ssim(decoded, clip)
        rows[name] = (p.mean(), s.mean())
        size = f"{clip.shape[2]}x{clip.shape[1]}"
        print(f"{name:28} {len(clip):6d} {size:>9} {p.mean():6.2f} {p.min():6.2f} {s.mean():6.4f}", flush=True)
        picture(name, clip, decoded, [0, len(clip) // 2, len(clip) - 1])
    signer = [Path(n).stem for n in HELD_OUT_CLIPS]
    rest_of_training = [Path(n).stem for n in PARTLY_HELD_OUT]
    unseen = [n for n in rows if n not in rest_of_training]
    # Held-out signs show the signer and the room of other, trained ones.
    unrelated = [n for n in unseen if n not in signer]
    for title, names in (("recordings never trained on", unseen), ("of those, unrelated ones", unrelated), ("all clips", list(rows))):
        mean = np.mean([rows[n] for n in names], 0)
        print(f"{title:28} {len(names):6d} {'':9} {mean[0]:6.2f} {'':6} {mean[1]:6.4f}")
    print(f"\n{'made to break it':28} {'PSNR':>6} {'worst':>6} {'worst of the usual frames':>26}")
    for name, case in hard_cases(clips).items():
        decoded = stream.round_trip(case.clip, a.chunk)
        p = psnr(decoded, case.clip)
        print(f"{name:28} {p.mean():6.2f} {p.min():6.2f} {p[case.usual].min():26.2f}", flush=True)
        picture(name.split(" (")[0].replace(" ", "-"), case.clip, decoded, [i for i in (17, 20, 22, 23, 25, 27, 30) if i < len(case.clip)])


if __name__ == "__main__":
    main()
