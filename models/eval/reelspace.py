"""Runs a bundle as users do, by the reelspace command, and remembers what it made."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

from .clips import read_folder, write_clip, write_picture

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "dist/src/cli/main.js"
FRAME_RATE = 12


def program_files() -> list[Path]:
    """What makes the clips, beside the bundle: the program and the versions of its packages."""
    return [*sorted(path for folder in ("dist/src", "dist/pipelines") for path in (ROOT / folder).rglob("*.js")), ROOT / "package-lock.json"]


def hash_files(*paths: Path) -> str:
    return hashlib.sha256("".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths).encode()).hexdigest()


class Reelspace:
    """Commands on one bundle. Clips are kept as folders of PNGs in `out`, by bundle, program and command, so that a run cut short goes on."""

    def __init__(self, bundle: Path, out: Path) -> None:
        if not PROGRAM.exists():
            raise FileNotFoundError(f"Expected {PROGRAM} to be there. Run `npm run build` in {ROOT}.")
        self.bundle, self.out = bundle.resolve(), out
        self.version = hash_files(bundle / "reelspace.json", *program_files())[:12]

    def clip(self, command: str, *arguments: str) -> np.ndarray:
        """The frames uint8 [T, H, W, 3] that `reelspace command arguments` makes."""
        key = hashlib.sha256("\n".join((command, *arguments)).encode()).hexdigest()[:16]
        folder = self.out / "clips" / self.version / f"{command}-{key}"
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.parent.mkdir(parents=True, exist_ok=True)
            self._run(command, *arguments, "-o", f"{partial}/")
            partial.rename(folder)
        return read_folder(folder)

    def source(self, frames: np.ndarray) -> str:
        """The path of a lossless file with `frames` [T, H, W, 3]: a picture where there is one, a clip otherwise."""
        name = hashlib.sha256(f"{frames.shape}".encode() + frames.tobytes()).hexdigest()[:16]
        path = self.out / "sources" / f"{name}{'.png' if len(frames) == 1 else '.mkv'}"
        if not path.exists():
            if len(frames) == 1:
                write_picture(frames[0], path)
            else:
                write_clip(frames, path, FRAME_RATE)
        return str(path)

    def seconds(self, runs: int, command: str, *arguments: str) -> float:
        """The median time of whole runs that write an MP4."""
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._run(command, *arguments, "-o", str(self.out / "timed.mp4"))
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def _run(self, command: str, *arguments: str) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        line = ["node", str(PROGRAM), command, *arguments, "--model", str(self.bundle), "--device", "cpu", "--quiet"]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"Expected reelspace {command} to end well, got {done.returncode}: {done.stderr.strip()}")
