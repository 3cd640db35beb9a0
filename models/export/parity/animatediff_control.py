"""AnimateDiff under the ControlNets of Stable Diffusion, at toy widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AnimateDiffControlNetPipeline, AnimateDiffPipeline, AnimateDiffVideoToVideoControlNetPipeline

from .animatediff import PARTS, SIZE
from .goldens import Goldens, moving_clip, pictures, write_video
from .stable_diffusion import NAMES
from .stable_diffusion_control import NETS, control_arguments, control_options, drawing, edges_of, make_net

FRAMES = 4


def write_goldens(pipeline: AnimateDiffPipeline, path: Path, bundle: str) -> None:
    """Writes what diffusers makes with the bundle's pipeline, and beside it the clips that it goes by and starts from."""
    goldens = Goldens()
    drawn = [drawing(SIZE["width"], SIZE["height"], at / (FRAMES - 1)) for at in range(FRAMES)]
    drawn_path = path.with_name(f"{path.stem}-drawn.mkv")
    levels = np.stack([np.asarray(picture) for picture in drawn])
    write_video(torch.from_numpy(levels).permute(3, 0, 1, 2)[None] / 127.5 - 1, drawn_path, 8)
    shown = {"edges": [edges_of(picture) for picture in drawn], "depth": drawn}
    source = moving_clip(FRAMES, SIZE["height"], SIZE["width"])
    write_video(source, path.with_suffix(".mkv"), 8)

    def add(name: str, controls: dict[str, tuple[float, float, float]], **options: Any) -> None:
        options = {"prompt": "a red cat", **SIZE, "steps": 4, "seed": 7, "guidanceScale": 5, "control": control_options(drawn_path.name, controls), **options}
        asked = control_arguments(shown, controls)
        asked["conditioning_frames"] = asked.pop("shown")
        if "input" in options:
            kind = AnimateDiffVideoToVideoControlNetPipeline
            asked["video"] = pictures(source)
        else:
            kind = AnimateDiffControlNetPipeline
            options["numFrames"] = asked["num_frames"] = FRAMES
        asked |= {theirs: options[ours] for ours, theirs in NAMES.items() if ours in options}
        nets = [make_net(NETS[one][1]) for one in controls]
        run = kind(**{part: pipeline.components[part] for part in PARTS}, controlnet=nets[0] if len(nets) == 1 else nets)
        run.set_progress_bar_config(disable=True)
        latents, frames = (run(**asked, generator=torch.Generator().manual_seed(options["seed"]), output_type=output).frames for output in ("latent", "np"))
        goldens.add_run(name, "restyle" if "input" in options else "generate", options, latents, frames[0])

    add("edges", {"edges": (1.0, 0, 1)})
    add("depth-unguided", {"depth": (0.5, 0, 1)}, guidanceScale=1)
    add("depth-0", {"depth": (0.0, 0, 1)}, steps=2)
    add("two-in-turn", {"edges": (0.8, 0, 0.5), "depth": (0.6, 0.25, 1)}, negativePrompt="the dog")
    add("restyle", {"edges": (0.7, 0, 1)}, input=path.with_suffix(".mkv").name, strength=0.6)
    goldens.save(path, bundle)
