"""AnimateDiff's toy pipeline on clips of more frames than its motion modules take at a time, in reelspace's two ways, and with a prompt that changes.

diffusers' own way is another one (FreeNoise, arXiv 2310.15169), so its pipeline is run with what is different put in from outside: a UNet that blends
windows (MultiDiffusion, arXiv 2302.08113), and a callback that puts back what an earlier window has made (RePaint, arXiv 2201.09865).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AnimateDiffPipeline, AnimateDiffVideoToVideoPipeline
from torch import Tensor

from .animatediff import PARTS, SIZE
from .goldens import Goldens, moving_clip, pictures, write_video
from .stable_diffusion import NAMES

WINDOW, OVERLAP = 16, 4
RUN = {"prompt": "a red cat", **SIZE, "steps": 3, "seed": 7, "guidanceScale": 5}


def windows_of(frames: int) -> list[tuple[int, int]]:
    """Starts and ends; the last one is moved back so as to be whole."""
    last = frames - WINDOW
    return [(start, start + WINDOW) for start in [*range(0, last, WINDOW - OVERLAP), last]]


def blended(frames: int, predict: Callable[[slice], Tensor]) -> Tensor:
    """A mean of the windows' predictions [B,C,t,h,w]; what two share goes over evenly from one to the other."""
    windows = windows_of(frames)
    total, weights = 0.0, torch.zeros(frames)
    for index, (start, end) in enumerate(windows):
        weight = torch.ones(WINDOW)
        if index > 0:
            shared = windows[index - 1][1] - start
            weight[:shared] = torch.arange(1, shared + 1) / (shared + 1)
        if index < len(windows) - 1:
            shared = end - windows[index + 1][0]
            weight[WINDOW - shared :] = torch.arange(shared, 0, -1) / (shared + 1)
        part = predict(slice(start, end))
        whole = torch.zeros(*part.shape[:2], frames, *part.shape[3:])
        whole[:, :, start:end] = part * weight[:, None, None]
        total, weights = total + whole, weights + torch.cat([torch.zeros(start), weight, torch.zeros(frames - end)])
    return total / weights[:, None, None]


@contextmanager
def patched(pipeline: Any, frames: int, later: Tensor | None = None) -> Iterator[None]:
    """Runs the UNet in windows. With `later` [L,D] the prompt goes over to that one along the clip: from its own embeddings to those half way, and on from
    there, each share of the way a mean of two predictions. Guidance is on then."""
    unet = pipeline.unet

    def forward(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **others: Any) -> Any:
        by_frame = encoder_hidden_states.unflatten(0, (-1, frames))

        def predict(span: slice, embeds: Tensor) -> Tensor:
            return type(unet).forward(unet, sample[:, :, span], timestep, encoder_hidden_states=embeds[:, span].flatten(0, 1), **others).sample

        if later is None:
            return SimpleNamespace(sample=blended(frames, lambda span: predict(span, by_frame)))
        total = 0.0
        for place in (0.0, 0.5, 1.0):
            between = by_frame.clone()
            between[1] = torch.lerp(by_frame[1], later.expand_as(by_frame[1]), place)
            share = (1 - 2 * (torch.linspace(0, 1, frames) - place).abs()).clamp(min=0)[:, None, None]
            total = total + share * blended(frames, lambda span, embeds=between: predict(span, embeds))
        return SimpleNamespace(sample=total)

    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward


@torch.no_grad()
def write_goldens(pipeline: AnimateDiffPipeline, path: Path, bundle: str) -> None:
    """Writes what comes of the bundle's pipeline, and beside it the clip that one run starts from."""
    goldens = Goldens()
    restyling = AnimateDiffVideoToVideoPipeline(**{name: pipeline.components[name] for name in PARTS})
    restyling.set_progress_bar_config(disable=True)
    arguments = {NAMES[ours]: value for ours, value in RUN.items() if ours in NAMES}

    def generator(more: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(RUN["seed"] + more)

    def add(name: str, kind: str, latents: Tensor, options: dict[str, Any], has_frames: bool = False) -> None:
        """`options` are reelspace's, beyond or in place of RUN's."""
        made = pipeline.video_processor.postprocess_video(pipeline.decode_latents(latents), output_type="np")[0] if has_frames else None
        goldens.add_run(name, kind, {key: value for key, value in {**RUN, **options}.items() if value is not None}, latents, made)

    frames = 22
    with patched(pipeline, frames):
        made = pipeline(**arguments, num_frames=frames, generator=generator(), output_type="latent").frames
    joint = {"windows": "joint"}
    add("joint", "generate", made, {**joint, "numFrames": frames}, has_frames=True)

    later = pipeline.encode_prompt("the dog", "cpu", 1, False)[0][0]
    with patched(pipeline, frames, later):
        made = pipeline(**arguments, num_frames=frames, generator=generator(), output_type="latent").frames
    along = {"prompt": None, "promptAt": {"0": RUN["prompt"], str(frames - 1): "the dog"}}
    add("joint-prompts", "generate", made, {**joint, **along, "numFrames": frames})

    source = moving_clip(frames, SIZE["height"], SIZE["width"])
    write_video(source, path.with_suffix(".mkv"), 8)
    with patched(restyling, frames):
        made = restyling(**arguments, video=pictures(source), strength=0.7, generator=generator(), output_type="latent").frames
    add("joint-restyle", "restyle", made, {**joint, "input": path.with_suffix(".mkv").name, "strength": 0.7})

    whole = pipeline(**arguments, num_frames=WINDOW, generator=generator(), output_type="latent").frames
    _, (start, _) = windows_of(frames)
    known = whole[:, :, start:]
    noise = torch.randn(whole.shape, generator=generator(1))

    def put_back(run: AnimateDiffPipeline, step: int, _: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        latents, timesteps = given["latents"].clone(), run.scheduler.timesteps
        next_ = timesteps[step + 1 : step + 2]
        shared = known.shape[2]
        latents[:, :, :shared] = run.scheduler.add_noise(known, noise[:, :, :shared], next_) if len(next_) else known
        return {"latents": latents}

    rest = pipeline(**arguments, num_frames=WINDOW, latents=noise.clone(), generator=generator(1), callback_on_step_end=put_back, output_type="latent").frames
    add("stream", "generate", torch.cat([whole, rest[:, :, known.shape[2] :]], dim=2), {"numFrames": frames}, has_frames=True)
    goldens.save(path, bundle)
