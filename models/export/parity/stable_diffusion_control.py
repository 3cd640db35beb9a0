"""Stable Diffusion under two ControlNets, at toy widths: one that goes by edges, one that goes by depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)
from PIL import Image, ImageDraw, ImageFilter

from .random_weights import randomise
from .stable_diffusion import MASK, SIZE, PictureGoldens, make_unet

PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler", "safety_checker", "feature_extractor")
# The names of the folders say what the nets go by.
NETS = {"edges": ("sd-controlnet-canny", 61), "depth": ("sd-controlnet-depth", 62)}


def make_net(seed: int) -> ControlNetModel:
    return randomise(ControlNetModel.from_unet(make_unet(), conditioning_embedding_out_channels=(4, 4, 8, 8)), seed)


def save_nets(folder: Path) -> tuple[str, ...]:
    """Writes the nets, and returns their folders."""
    for name, seed in NETS.values():
        make_net(seed).save_pretrained(folder / name)
    return tuple(str(folder / name) for name, _ in NETS.values())


def drawing(width: int, height: int, at: float) -> Image.Image:
    """A picture with sharp and with soft edges, some of which move with `at`, 0 to 1."""
    picture = Image.new("RGB", (width, height), (40, 60, 90))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((8 + 12 * at, 6, 30 + 12 * at, 28), fill=(220, 180, 60))
    picture = picture.filter(ImageFilter.GaussianBlur(1.5))
    ImageDraw.Draw(picture).polygon([(34, 40), (44, 10 + 8 * at), (60, 38)], fill=(90, 20, 160))
    return picture


def edges_of(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.repeat(cv2.Canny(np.asarray(picture), 100, 200)[..., None], 3, axis=2))


def control_arguments(pictures: dict[str, Any], controls: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """What diffusers is told of controls that have a scale, a start and an end each; of one alone it takes no lists."""
    scales, starts, ends = (list(values) for values in zip(*controls.values(), strict=True))
    shown = [pictures[kind] for kind in controls]
    if len(shown) == 1:
        shown, scales = shown[0], scales[0]
    return {"shown": shown, "controlnet_conditioning_scale": scales, "control_guidance_start": starts, "control_guidance_end": ends}


def control_options(source: str, controls: dict[str, tuple[float, float, float]]) -> list[str]:
    """The same for reelspace."""
    return [f"{kind}=@/{source}" + (f":{scale}" if (start, end) == (0, 1) else f":{scale}:{start}:{end}") for kind, (scale, start, end) in controls.items()]


def write_goldens(pipeline: StableDiffusionPipeline, path: Path, bundle: str) -> None:
    """Writes what diffusers makes with the bundle's pipeline, and beside it the picture that it goes by."""
    goldens = PictureGoldens(path)
    drawn = drawing(SIZE["width"], SIZE["height"], 0.3)
    drawn_path = path.with_name(f"{path.stem}-drawn.png")
    drawn.save(drawn_path)
    pictures = {"edges": edges_of(drawn), "depth": drawn}
    nets = {kind: make_net(seed) for kind, (_, seed) in NETS.items()}

    def add(name: str, kind: type, controls: dict[str, tuple[float, float, float]], **options: Any) -> None:
        chosen = [nets[kind] for kind in controls]
        run = kind(
            **{part: pipeline.components[part] for part in PARTS}, controlnet=chosen[0] if len(chosen) == 1 else chosen, requires_safety_checker=False
        )
        run.set_progress_bar_config(disable=True)
        asked = control_arguments(pictures, controls)
        asked["image" if kind is StableDiffusionControlNetPipeline else "control_image"] = asked.pop("shown")
        goldens.add(name, run, {"prompt": "a red cat", "control": control_options(drawn_path.name, controls), **options}, **asked)

    plain = StableDiffusionControlNetPipeline
    whole = (1.0, 0, 1)
    add("edges", plain, {"edges": whole})
    for scale in (0.0, 0.5):
        add(f"depth-{scale}", plain, {"depth": (scale, 0, 1)})
    add("depth-unguided", plain, {"depth": whole}, guidanceScale=1)
    add("early", plain, {"edges": (0.8, 0, 0.5)}, steps=6, scheduler="ddim")
    add("late", plain, {"depth": (0.8, 0.4, 1)}, steps=5, scheduler="euler", guidanceScale=1)
    add("two", plain, {"edges": (0.7, 0, 1), "depth": (0.4, 0, 1)})
    add("two-in-turn", plain, {"depth": (1.0, 0, 0.6), "edges": (0.5, 0.3, 0.9)}, steps=8, scheduler="dpm++")
    # Written with the goldens of the pipeline alone.
    source = {"input": f"{bundle}.png"}
    restyling = StableDiffusionControlNetImg2ImgPipeline
    add("restyle", restyling, {"edges": (0.7, 0, 1)}, **source, strength=0.6)
    add("restyle-late", restyling, {"depth": (0.7, 0.5, 1)}, **source, strength=0.8, steps=10, scheduler="euler")
    mask = {"mask": ",".join(map(str, MASK)), "scheduler": "ddim"}
    add("inpaint", StableDiffusionControlNetInpaintPipeline, {"depth": (0.6, 0, 0.8)}, **source, **mask, strength=1, steps=5)
    goldens.save(path, bundle)
