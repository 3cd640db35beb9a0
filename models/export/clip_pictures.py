"""CLIP's view of a picture, with its image processor inside the graph: pixels of any size in, hidden states out."""

from __future__ import annotations

from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from .errors import ExportError
from .graph import Graph
from .pipeline_folder import PipelineFolder


# Pillow's weights are whole multiples of 1 / WEIGHT_UNIT.
WEIGHT_UNIT = 2.0**22


def picture_encoder_graph(folder: PipelineFolder, model: CLIPVisionModel | CLIPVisionModelWithProjection, processor: Any) -> Graph:
    """Gives the last but one hidden states. Raises ExportError when the image processor does something else than CLIP's."""
    check_processor(folder, processor)

    class PictureEncoder(type(model)):
        """The hidden states that the denoiser is given."""

        def forward(self, pixels: Tensor) -> Tensor:
            return last_but_one_states(self, processor, pixels)

    # A module around it would put a prefix before every parameter's name.
    model.__class__ = PictureEncoder
    unused = frozenset(name for name, _ in model.named_parameters() if is_skipped(model, name))
    return Graph(model, {"pixels": (2, 3)}, ("image_embeds",), picture_examples(processor), unused)


def last_but_one_states(model: CLIPVisionModel | CLIPVisionModelWithProjection, processor: Any, pixels: Tensor) -> Tensor:
    """What CLIP's last layer would be given of pictures [B,3,H,W] in [-1,1]."""
    vision = getattr(model, "vision_model", model)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std))
    levels = resize_and_crop(((pixels + 1) * 127.5).round(), processor.crop_size["height"])
    states = vision.pre_layrnorm(vision.embeddings((levels * processor.rescale_factor - mean) / deviation))
    for layer in vision.encoder.layers[:-1]:
        states = layer(states, None)
    return states


def is_skipped(model: CLIPVisionModel | CLIPVisionModelWithProjection, name: str) -> bool:
    """Whether a parameter of the model has no say in those states."""
    skipped = ("post_layernorm.", f"encoder.layers.{model.config.num_hidden_layers - 1}.", "visual_projection.")
    return name.removeprefix("vision_model.").startswith(skipped)


def picture_examples(processor: Any) -> tuple[tuple[Tensor], ...]:
    """Pictures wider, higher and as large as what CLIP looks at."""
    side = processor.crop_size["height"]

    def example(batch: int, height: int, width: int) -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(height)
        return (torch.randint(0, 256, (batch, 3, height, width), generator=generator) / 127.5 - 1,)

    return example(2, 2 * side + 6, 3 * side), example(1, 3 * side, side // 2 + 3), example(1, side, side)


def check_processor(folder: PipelineFolder, processor: Any) -> None:
    crop = dict(processor.crop_size)
    is_clips = (
        processor.do_resize and processor.do_center_crop and processor.do_rescale and processor.do_normalize
        and processor.resample == Resampling.BICUBIC
        and crop["height"] == crop["width"] == dict(processor.size).get("shortest_edge")
    )  # fmt: skip
    if not is_clips:
        raise ExportError(
            f"Expected image_processor of {folder.path} to resize the short side by bicubic filtering, to crop a square from the centre, "
            "to rescale and to normalise, as CLIP's does."
        )


def resize_and_crop(levels: Tensor, side: int) -> Tensor:
    """A square from the middle of pictures [B,3,H,W] of grey levels 0 to 255, the short side resized to `side`.

    As Pillow does it (src/libImaging/Resample.c): bicubic with a = -0.5, widened when it shrinks, first along rows, then along
    columns, rounded to whole levels after each. (Pillow 13 begins with the columns of pictures that are more than twice as high as
    wide, which can change levels by 3.) In float64, which holds Pillow's sums exactly.
    """
    levels = levels.double()
    height, width = (torch.scalar_tensor(levels.shape[axis], dtype=torch.float64) for axis in (2, 3))
    short = torch.minimum(height, width)
    across = levels @ crop_weights(levels.shape[3], width, torch.floor(side * width / short), side).T
    along = crop_weights(levels.shape[2], height, torch.floor(side * height / short), side) @ whole_levels(across)
    return whole_levels(along).float()


def whole_levels(levels: Tensor) -> Tensor:
    return (levels + 0.5).floor().clamp(0, 255)


def crop_weights(length: int, before: Tensor, after: Tensor, side: int) -> Tensor:
    """[side, length]: how much each of `length` positions counts in the middle `side` of the `after` that they are resized to."""
    scale = before / after
    first = torch.floor((after - side) / 2)
    widening = scale.clamp(min=1)
    centres = (torch.arange(side, dtype=torch.float64) + first + 0.5)[:, None] * scale
    positions = torch.arange(length, dtype=torch.float64)[None]
    start, end = ((centres + sign * 2 * widening + 0.5).trunc() for sign in (-1, 1))
    distance = ((positions - centres + 0.5) / widening).abs()
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    weights = torch.where((positions >= start) & (positions < end), weights, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True) * WEIGHT_UNIT
    return (weights.abs() + 0.5).floor() * weights.sign() / WEIGHT_UNIT
