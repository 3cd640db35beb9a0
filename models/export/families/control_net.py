"""ControlNets (arXiv 2302.05543): copies of a UNet's downward half that say from a picture what is to be made.

What the graphs must equal: pipelines/controlnet of diffusers. A net works on one picture at a time; frames of a clip are rows of its batch.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor

from ..bundle import BundleWriter
from ..control_nets import ControlNetFolder
from ..errors import ExportError
from ..graph import Graph
from ..repeats import repeat_rows

# Of a UNet's configuration, what the nets that belong to it have alike.
ALIKE = ("block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")


def add_control_nets(bundle: BundleWriter, nets: tuple[ControlNetFolder, ...], unet: Any, scale: int) -> list[dict[str, str]]:
    """Writes a graph for each net and returns what the manifest says of them. `unet` is the configuration of the one that they belong to,
    `scale` how many pixels a latent position stands for."""
    listed = []
    for net in nets:
        model = net.load()
        other = [name for name in ALIKE if as_list(model.config.get(name)) != as_list(unet.get(name))]
        if other or model.config.in_channels != unet["out_channels"]:
            raise ExportError(f"Expected {net.path} to be a ControlNet for this UNet, but it differs in {', '.join(other) or 'in_channels'}.")
        if model.config.global_pool_conditions or model.config.class_embed_type is not None or model.config.conditioning_channels != 3:
            raise ExportError(f"Expected {net.path} to be a ControlNet that is shown a picture of three channels, position by position.")
        path = f"controlnet/{net.kind}/model.onnx"
        bundle.add_graph(path, net_graph(model, scale))
        listed.append({"kind": net.kind, "path": path})
    return listed


def net_graph(model: ControlNetModel, scale: int) -> Graph:
    config = model.config

    class Net(type(model)):
        """What the net adds to the UNet, each [B·t, C, h, w]: one row a frame."""

        def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
            torch._check(timestep.shape[0] == latents.shape[0])
            torch._check(prompt_embeds.shape[0] == latents.shape[0])
            torch._check(pixels.shape[0] == latents.shape[0])
            torch._check(pixels.shape[2] == latents.shape[2])
            frames = latents.shape[2]
            picture = (frame_rows(pixels) + 1) / 2
            if config.controlnet_conditioning_channel_order == "bgr":
                picture = picture.flip(1)
            down, middle = super().forward(
                frame_rows(latents), repeat_rows(timestep, frames, 0), repeat_rows(prompt_embeds, frames, 0), picture,
                return_dict=False,
            )  # fmt: skip
            return (*down, middle)

    model.__class__ = Net

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(height * width)
        return (
            torch.randn(batch, config.in_channels, frames, height, width, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, config.cross_attention_dim, generator=generator),
            torch.rand(batch, 3, frames, height * scale, width * scale, generator=generator) * 2 - 1,
        )

    # Tracing would find out by itself what a picture's sides are multiples of, but it isn't told that they have to be.
    rows, columns = (torch.export.Dim(name) for name in ("rows", "columns"))
    free = {
        "latents": {2: torch.export.Dim.DYNAMIC, 3: rows, 4: columns}, "timestep": (), "prompt_embeds": (1,),
        "pixels": {2: torch.export.Dim.DYNAMIC, 3: scale * rows, 4: scale * columns},
    }  # fmt: skip
    odd = 2 ** len(config.block_out_channels) + 1
    return Graph(model, free, residual_names(config), (example(2, 3, odd, odd + 2, 11), example(1, 1, 8, 4, 77), example(1, 2, 6, 8, 5)))


def as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def frame_rows(clip: Tensor) -> Tensor:
    """[B,C,t,h,w] as [B·t,C,h,w]."""
    return clip.transpose(1, 2).flatten(0, 1)


def describe_residuals(config: Any) -> list[dict[str, int]]:
    """What nets add to a UNet of that configuration, to each result on the way down and to the middle: channels, and by what the
    latents' sides are divided there, rounded up."""
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    places = [(channels[0], 1)]
    for level, width in enumerate(channels):
        places += [(width, 2**level)] * (layers if isinstance(layers, int) else layers[level])
        if level < len(channels) - 1:
            places.append((width, 2 ** (level + 1)))
    places.append((channels[-1], 2 ** (len(channels) - 1)))
    return [{"channels": width, "spatialDivisor": divisor} for width, divisor in places]


def residual_names(config: Any) -> tuple[str, ...]:
    return tuple(f"residual_{n}" for n in range(len(describe_residuals(config))))


def residual_examples(config: Any, rows: int, height: int, width: int, generator: torch.Generator) -> list[Tensor]:
    """What a UNet of that configuration may be given, a row a frame."""
    return [
        torch.randn(rows, place["channels"], *(-(-side // place["spatialDivisor"]) for side in (height, width)), generator=generator)
        for place in describe_residuals(config)
    ]
