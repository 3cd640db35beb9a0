"""Streams clips through the exported VAE in chunks, carrying the causal state, as the runtime does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from ..integers import WHOLE_NUMBERS
from .model import SPATIAL, TEMPORAL


def cpu_graph(folder: Path) -> Path:
    whole = folder / WHOLE_NUMBERS
    return whole if whole.exists() else folder / "model.onnx"


class HalfStream:
    """One graph and the state between its calls."""

    def __init__(self, path: Path, specs: list[dict], threads: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.specs = specs
        self.source = self.session.get_inputs()[0].name
        self.states: list[np.ndarray] = []

    def start(self, height: int, width: int) -> None:
        self.states = [
            np.zeros((1, s["channels"], s["frames"], height // s["spatialDivisor"], width // s["spatialDivisor"]), np.float32)
            for s in self.specs
        ]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        feed = {self.source: x} | {f"state_in_{i}": s for i, s in enumerate(self.states)}
        out, *self.states = self.session.run(None, feed)
        return out


class VaeStream:
    """Of each half the graph that the runtime takes on a CPU: in whole numbers where there is one."""

    def __init__(self, bundle: Path, threads: int = 1):
        specs = json.loads((bundle / "vae_state.json").read_text())
        self.encoder, self.decoder = (HalfStream(cpu_graph(bundle / f"vae_{half}"), specs[half], threads) for half in ("encoder", "decoder"))

    def encode(self, clip: np.ndarray, chunk: int = 8) -> np.ndarray:
        """Latents [1,16,k+1,H/8,W/8] of uint8 [4k+1,H,W,3], `chunk` frames at a time."""
        if len(clip) % TEMPORAL != 1 or clip.shape[1] % SPATIAL or clip.shape[2] % SPATIAL:
            raise ValueError(f"Expected clip to be [4k+1, 8h, 8w, 3], got {clip.shape}. Crop it.")
        padded = np.concatenate([clip[:1].repeat(TEMPORAL - 1, 0), clip])
        self.encoder.start(*clip.shape[1:3])
        encoded = []
        for at in range(0, len(padded), chunk):
            pixels = np.ascontiguousarray(padded[at : at + chunk].transpose(3, 0, 1, 2)[None]).astype(np.float32)
            encoded.append(self.encoder(pixels / np.float32(127.5) - 1))
        return np.concatenate(encoded, 2)

    def decode(self, latents: np.ndarray, chunk: int = 8) -> np.ndarray:
        """The inverse of `encode`."""
        self.decoder.start(latents.shape[3] * SPATIAL, latents.shape[4] * SPATIAL)
        decoded = []
        for at in range(0, latents.shape[2], chunk // TEMPORAL):
            pixels = self.decoder(np.ascontiguousarray(latents[:, :, at : at + chunk // TEMPORAL]))[0]
            pixels = np.rint((pixels + 1) * np.float32(127.5))
            decoded.append(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8).transpose(1, 2, 3, 0))
        return np.concatenate(decoded)[TEMPORAL - 1 :]

    def round_trip(self, clip: np.ndarray, chunk: int = 8) -> np.ndarray:
        """uint8 [4k+1,H,W,3] to the same shape, encoded and decoded `chunk` frames at a time."""
        return self.decode(self.encode(clip, chunk), chunk)
