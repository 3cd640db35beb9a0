"""An LTX-Video pipeline that takes pictures for any frame, and clips to start from; its VAE takes the last noise away."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

from ..families.ltx_vae import DECODE_NOISE, DECODE_TIMESTEP
from . import ltx
from .goldens import Goldens, moving_clip, pictures, write_video


def save_pipeline(folder: Path) -> LTXConditionPipeline:
    return ltx.save_pipeline(folder, is_finishing=True, kind=LTXConditionPipeline)


def write_goldens(pipeline: LTXConditionPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the pictures and the clip that it starts from."""
    pipeline.set_progress_bar_config(disable=True)
    vae = pipeline.vae
    goldens = Goldens()

    def add(name: str, prompt: str, width: int, height: int, given: dict[int, float] | None = None, **options) -> None:
        """`given` are the frames that pictures are given for, and how closely they are kept; `options` those of reelspace, beyond what
        all cases share."""
        options = {"prompt": prompt, "width": width, "height": height, "numFrames": 9, "steps": 4, "seed": 7, "guidanceScale": 3, **options}
        asked = {ours: options[theirs] for theirs, ours in ltx.NAMES.items() if theirs in options}
        workflow = "generate"
        if given is not None:
            workflow = "animate"
            clip = pictures(moving_clip(max(given) + 1, height, width))
            files = {frame: path.with_name(f"{path.stem}-{width}x{height}-{frame}.png") for frame in given}
            for frame, file in files.items():
                clip[frame].save(file)
            asked["conditions"] = [LTXVideoCondition(clip[frame], frame_index=frame, strength=strength) for frame, strength in given.items()]
            options["input"] = files.pop(0).name
            if options["numFrames"] - 1 in files:
                options["last"] = f"@/{files.pop(options['numFrames'] - 1).name}"
            options["keyframes"] = {str(frame): f"@/{file.name}" for frame, file in files.items()}
            options["pictureStrength"] = given[0]
        source = None
        if "strength" in options or "extend" in name:
            file = path.with_name(f"{path.stem}-{width}x{height}.mkv")
            clip = moving_clip(9, height, width)
            write_video(clip, file, 8)
            options["input"], asked["frame_rate"] = file.name, 8
            if "strength" in options:
                workflow, asked["denoise_strength"] = "restyle", options["strength"]
                source = vae.encode(clip).latent_dist
                del options["numFrames"]
            else:
                workflow, asked["num_frames"] = "extend", 9 + options["numFrames"]
                asked["conditions"] = [LTXVideoCondition(video=pictures(clip))]
        results = []
        for kind in ("latent", "np"):
            generator = torch.Generator().manual_seed(options["seed"])
            if source is not None:
                asked["latents"] = pipeline._normalize_latents(source.sample(generator), vae.latents_mean, vae.latents_std)
            made = pipeline(
                **asked, generator=generator, decode_timestep=DECODE_TIMESTEP, decode_noise_scale=DECODE_NOISE, output_type=kind
            )
            results.append(made.frames)
        if not options.get("keyframes", True):
            del options["keyframes"]
        # What reelspace extends keeps its own frames.
        goldens.add_run(name, workflow, options, results[0], None if workflow == "extend" else results[1][0])

    add("generate", "a cat on the beach", 64, 32)
    add("animate", "a red fox in the snow", 64, 32, {0: 1.0}, steps=5)
    add("lead", "the dog runs", 32, 64, {0: 1.0, 16: 1.0}, numFrames=17, negativePrompt="blurry")
    add("keyframes", "a red fox", 32, 32, {0: 0.7, 8: 0.7, 16: 0.7}, numFrames=17, guidanceScale=1, frameRate=8, steps=6)
    for strength in (0.1, 0.5, 0.9):
        add(f"restyle-{strength}", "a cat on the beach", 32, 32, strength=strength, steps=10)
    add("extend", "the dog runs", 32, 32, numFrames=8, negativePrompt="blurry")
    goldens.save(path)
