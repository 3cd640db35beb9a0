"""One module a family: what its pipeline is made of, and how its parts meet the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bundle import BundleWriter
from ..pipeline_folder import PipelineFolder
from . import animatediff, cogvideox, hunyuan_video, ltx, stable_diffusion, stable_diffusion_xl, wan

# Writes graphs and tokenizer, and returns what the manifest says of this model.
Exporter = Callable[[PipelineFolder, BundleWriter], dict[str, Any]]

# By the class in model_index.json.
EXPORTERS: dict[str, Exporter] = {
    "AnimateDiffControlNetPipeline": animatediff.export,
    "AnimateDiffPipeline": animatediff.export,
    "AnimateDiffVideoToVideoPipeline": animatediff.export,
    "CogVideoXImageToVideoPipeline": cogvideox.export_image_to_video,
    "CogVideoXPipeline": cogvideox.export_text_to_video,
    "CogVideoXVideoToVideoPipeline": cogvideox.export_text_to_video,
    "HunyuanVideoImageToVideoPipeline": hunyuan_video.export_image_to_video,
    "HunyuanVideoPipeline": hunyuan_video.export_text_to_video,
    "LTXConditionPipeline": ltx.export_conditioned,
    "LTXImageToVideoPipeline": ltx.export_text_to_video,
    "LTXPipeline": ltx.export_text_to_video,
    "LatentConsistencyModelPipeline": stable_diffusion.export_distilled,
    "LatentConsistencyModelImg2ImgPipeline": stable_diffusion.export_distilled,
    # These share one layout; what the UNet takes tells what it is for.
    "StableDiffusionControlNetImg2ImgPipeline": stable_diffusion.export,
    "StableDiffusionControlNetInpaintPipeline": stable_diffusion.export,
    "StableDiffusionControlNetPipeline": stable_diffusion.export,
    "StableDiffusionPipeline": stable_diffusion.export,
    "StableDiffusionImg2ImgPipeline": stable_diffusion.export,
    "StableDiffusionInpaintPipeline": stable_diffusion.export,
    "StableDiffusionXLPipeline": stable_diffusion_xl.export,
    "StableDiffusionXLImg2ImgPipeline": stable_diffusion_xl.export,
    "StableDiffusionXLInpaintPipeline": stable_diffusion_xl.export,
    "WanImageToVideoPipeline": wan.export_image_to_video,
    "WanVACEPipeline": wan.export_controlled,
    "WanPipeline": wan.export_text_to_video,
}

# Those that a ControlNet may go with.
WITH_CONTROL_NETS = {name for name, export in EXPORTERS.items() if export in (animatediff.export, stable_diffusion.export)}
