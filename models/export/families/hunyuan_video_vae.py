"""HunyuanVideo's VAE, which takes clips in tiles of time: models/autoencoders/autoencoder_kl_hunyuan_video.py of diffusers.

Its norms and its attention go over all that it is given at once, so that only the same tiles make the same clip.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLHunyuanVideo
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import HunyuanVideoMidBlock3D, HunyuanVideoUpsampleCausal3D
from torch import Tensor, nn
from torch.nn import functional as F

from ..bundle import BundleWriter
from ..graph import Graph


# Maps of the widest level, which comes after the last upsampling, that the decoder holds at its peak: measured in onnxruntime on the CPU
# at widths of 16 to 64, in tiles of 64x64 to 256x256. The encoder is taken to need no more.
LIVE_MAPS = 4.5


class Upsample(HunyuanVideoUpsampleCausal3D):
    """For any number of frames, also one alone."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        in_time, *in_space = self.upsample_factor
        batch, _, frames, _, _ = hidden_states.shape
        larger = F.interpolate(hidden_states.transpose(1, 2).flatten(0, 1), scale_factor=tuple(float(factor) for factor in in_space))
        larger = larger.unflatten(0, (batch, frames)).transpose(1, 2)
        # A clip's first frame stays one.
        return self.conv(torch.stack([larger] * in_time, dim=3).flatten(2, 3)[:, :, in_time - 1 :])


class MidBlock(HunyuanVideoMidBlock3D):
    """Each frame attends to itself and those before it."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.resnets[0](hidden_states)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            if attention is not None:
                batch, _, *volume = hidden_states.shape
                frames, rows, columns = volume
                numbers = torch.arange(frames)[:, None].expand(-1, rows * columns).flatten()
                mask = torch.where(numbers[None] <= numbers[:, None], 0.0, -torch.inf).expand(batch, -1, -1)
                attended = attention(hidden_states.flatten(2).transpose(1, 2), attention_mask=mask)
                hidden_states = attended.transpose(1, 2).unflatten(2, volume)
            hidden_states = resnet(hidden_states)
        return hidden_states


def prepare(network: nn.Module) -> nn.Module:
    replacements = {HunyuanVideoUpsampleCausal3D: Upsample, HunyuanVideoMidBlock3D: MidBlock}
    for module in network.modules():
        module.__class__ = replacements.get(type(module), type(module))
    return network


class Encoder(nn.Module):
    """Pixels to the mean of the posterior, scaled to unit variance, which is all that the pipelines take of it."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo):
        super().__init__()
        self.encoder, self.quant_conv = prepare(vae.encoder), vae.quant_conv
        self.scaling = vae.config.scaling_factor

    def forward(self, pixels: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)[0] * self.scaling


class Decoder(nn.Module):
    """Latents of unit variance to pixels in [-1, 1]."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo):
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, prepare(vae.decoder)
        self.scaling = vae.config.scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents / self.scaling))


def add_vae(bundle: BundleWriter, vae: AutoencoderKLHunyuanVideo) -> dict[str, Any]:
    """Writes both halves, and returns what the manifest says of them."""
    temporal, spatial = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    sizes = ((2, 3, 4, 6), (1, 5, 6, 4), (1, 1, 2, 2))
    # Tracing would find out by itself what sizes are multiples of, but not in reasonable time.
    frames, rows, columns = (torch.export.Dim(name) for name in ("frames", "rows", "columns"))

    def clip(channels: int, batch: int, frames: int, height: int, width: int) -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(frames * height + width)
        return (torch.randn(batch, channels, frames, height, width, generator=generator),)

    pixels = tuple(clip(3, batch, (n - 1) * temporal + 1, height * spatial, width * spatial) for batch, n, height, width in sizes)
    free = {2: temporal * frames + 1, 3: spatial * rows, 4: spatial * columns}
    bundle.add_graph("vae_encoder/model.onnx", Graph(Encoder(vae).eval(), {"pixels": free}, ("latents",), pixels))
    latents = tuple(clip(vae.config.latent_channels, *size) for size in sizes)
    bundle.add_graph("vae_decoder/model.onnx", Graph(Decoder(vae).eval(), {"latents": (2, 3, 4)}, ("pixels",), latents))
    tiles = {
        # A tile begins with the last frame that it is not to make.
        "latentFrames": vae.tile_sample_min_num_frames // temporal + 1,
        "step": vae.tile_sample_stride_num_frames // temporal,
    }
    work = {"numbersPerPixel": LIVE_MAPS * temporal * vae.config.block_out_channels[1]}
    return {
        f"vae{half}": {"path": f"vae_{half.lower()}/model.onnx", "whole": True, "tiles": tiles, "work": work, "states": []}
        for half in ("Encoder", "Decoder")
    }
