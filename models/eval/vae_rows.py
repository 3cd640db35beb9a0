"""Rows about the VAE: fidelity, worst frame, other sizes, speed, latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from reel_tiny.data.render import ClipRenderer
from reel_tiny.data.sources import read_video
from reel_tiny.precision import autocast
from reel_tiny.vae.stream import VaeStream
from reel_tiny.weights import load_vae

from .clips import crop, psnr, square, ssim
from .reelspace import Reelspace
from .row import Number, at_most
from .vae import hard_cases, held_out_clips, held_out_paths

SIZES = (256, 480)
SIZE_FRAMES = 17
TILE_FRAMES = 9
SPEED_FRAMES = 16
SPEED_RUNS = 5
TYPICAL_CLIPS = 1200
# A renderer shows few drawings many times, so that what one renders says little of what another does.
RENDERERS = 4
FRAME_RATE = 24
THREADS = 2
GRAIN = 0.05


class VaeRows:
    def __init__(self, bundle: Path, data: Path, clips: Path, threads: int = 1) -> None:
        self.bundle, self.data, self.clips = bundle, data, clips
        self.stream = VaeStream(bundle, threads)

    @cached_property
    def held_out(self) -> dict[str, np.ndarray]:
        return held_out_clips(self.data, self.clips)

    @cached_property
    def unseen(self) -> list[str]:
        return [path.stem for path in held_out_paths(self.data, self.clips)]

    def fidelity(self) -> Iterator[Number]:
        scores = []
        for name in self.unseen:
            clip = self.held_out[name]
            decoded = self.stream.round_trip(clip)
            scores.append((psnr(decoded, clip).mean(), ssim(decoded, clip).mean()))
        mean = np.mean(scores, 0)
        yield Number(f"PSNR, {len(scores)} recordings never trained on", mean[0], 31.5, 34, "{:.2f} dB")
        yield Number("SSIM, the same", mean[1], 0.90, 0.94, "{:.3f}")

    def worst(self) -> Iterator[Number]:
        lows = {}
        for name, case in hard_cases(self.held_out).items():
            lag = case.lag(psnr(self.stream.round_trip(case.clip), case.clip))
            lows[name] = (lag.min(), lag[case.usual].min())
        name = min(lows, key=lambda name: lows[name][0])
        yield Number(f"lowest frame against the median of its recording ({name})", lows[name][0], -8, -4, "{:.2f} dB")
        name = min(lows, key=lambda name: lows[name][1])
        yield Number(f"the mishap's own frames aside ({name})", lows[name][1], form="{:.2f} dB")

    def sizes(self, reelspace: Reelspace) -> Iterator[Number]:
        for size in SIZES:
            clips = [crop(read_video(path, size, SIZE_FRAMES)) for path in held_out_paths(self.data, self.clips)]
            # Recordings smaller than that are left out, not enlarged.
            large = [clip for clip in clips if min(clip.shape[1:3]) > size - 8]
            scores = [psnr(self.stream.round_trip(clip), clip).mean() for clip in large]
            yield Number(f"PSNR at a short side of {size}, {len(large)} recordings", float(np.mean(scores)), 33, 36, "{:.2f} dB")
        clip = square(read_video(held_out_paths(self.data, self.clips)[0], None, TILE_FRAMES), 256, TILE_FRAMES)
        arguments = (reelspace.source(clip), "--width", "256", "--height", "256")
        whole, tiled = reelspace.clip("reconstruct", *arguments), reelspace.clip("reconstruct", *arguments, "--tile", "128")
        apart = np.abs(whole.astype(np.float32) - tiled)
        line = max(apart.mean((0, 1, 3)).max(), apart.mean((0, 2, 3)).max())
        yield Number("tiles of 128 at 256: PSNR lost", float((psnr(whole, clip) - psnr(tiled, clip)).mean()), form="{:.3f} dB")
        yield Number("the same: most that any row or column differs, of 255", float(line), 2, 1, reaches=at_most)

    def speed(self) -> Iterator[Number]:
        clip = np.random.default_rng(0).integers(0, 256, (SPEED_FRAMES - 3, 256, 256, 3), np.uint8)
        stream = VaeStream(self.bundle, THREADS)
        # Of what PyTorch has the fastest: its own layout for convolutions, and bfloat16 on processors that calculate in it.
        device = torch.device("cpu")
        vae = load_vae(self.bundle).to(memory_format=torch.channels_last)
        pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1

        def by_torch() -> None:
            with torch.no_grad(), autocast(device):
                vae.decode(vae.encode(pixels))

        before = torch.get_num_threads()
        torch.set_num_threads(THREADS)
        runtime, reference = best_seconds(lambda: stream.round_trip(clip), by_torch)
        torch.set_num_threads(before)
        yield Number("encode + decode, times real time at 256x256, 24 fps", SPEED_FRAMES / FRAME_RATE / runtime, 1, 2.5, "{:.2f}x")
        with autocast(device):
            is_bf16 = torch.is_autocast_enabled(device.type)
        # The goals are meant for bf16, which is faster.
        dtype, least, aim = ("bf16", 0.9, 1.3) if is_bf16 else ("float32", None, None)
        yield Number(f"against PyTorch in {dtype}, the same weights", reference / runtime, least, aim, "{:.2f}x")

    def latents(self) -> Iterator[Number]:
        renderer, codes = ClipRenderer(self.data, self.clips, 4242, drawn_count=0), []
        for number in range(RENDERERS):
            renderer.begin([4242, number])
            codes += [self.stream.encode(renderer.clip(17, 128))[0].reshape(16, -1) for _ in range(TYPICAL_CLIPS // RENDERERS)]
        every = np.concatenate(codes, 1)
        form = {"form": "{:.3f}", "reaches": at_most}
        yield Number(f"channel mean furthest from 0, {TYPICAL_CLIPS} new clips", float(np.abs(every.mean(1)).max()), 0.1, 0.1, **form)
        yield Number("channel variance furthest from 1, the same", float(np.abs(every.var(1) - 1).max()), 0.1, 0.1, **form)
        lost, rng = [], np.random.default_rng(0)
        for name in self.unseen:
            clip = self.held_out[name][:25]
            clip = clip[: (len(clip) - 1) // 4 * 4 + 1]
            code = self.stream.encode(clip)
            grainy = code + np.float32(GRAIN) * rng.standard_normal(code.shape).astype(np.float32)
            lost.append((psnr(self.stream.decode(code), clip) - psnr(self.stream.decode(grainy), clip)).mean())
        yield Number("dB lost by 5 % noise, mean of the recordings", float(np.mean(lost)), 1, 1, reaches=at_most)


def best_seconds(*actions: Callable[[], None]) -> list[float]:
    """The shortest of SPEED_RUNS runs of each, taken in turns, so that a busy machine hits all alike."""
    best = [float("inf")] * len(actions)
    for _ in range(SPEED_RUNS):
        for index, action in enumerate(actions):
            start = time.perf_counter()
            action()
            best[index] = min(best[index], time.perf_counter() - start)
    return best
