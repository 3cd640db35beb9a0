"""The networks of the tiny test bundle: the reel-tiny VAE at toy widths, and a text encoder and denoiser of one layer each.

Weights are random and none is zero, so that no input and no layer can drop out unnoticed. The linear halves of the VAE
are a block cosine transform, so that a round trip looks like the clip, as it would with a trained one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from reel_tiny.vae.model import LATENT_CHANNELS, SPATIAL, TEMPORAL, CausalVae, VaeConfig
from torch import Tensor, nn

MAX_TOKENS = 16
EMBED_WIDTH = 16
MASK_CHANNELS = 2

# (channel pattern, time, row and column frequency) of the cosines that the latents hold.
COSINES = [
    *[(0, t, y, x) for t, y, x in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 0, 2), (0, 2, 0), (1, 0, 0), (1, 0, 1), (1, 1, 0), (0, 1, 2)]],
    *[(c, 0, y, x) for c in (1, 2) for y, x in [(0, 0), (0, 1), (1, 0)]],
]
# Grey, then two colour differences; orthogonal.
COLOURS = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])


def randomise(module: nn.Module, seed: int, scale: float) -> None:
    """Normal weights of deviation scale/sqrt(fan in), gains about one, small biases. The three convolutions that mix frames are drawn as one over all three."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("time.middle.weight", "time.early.weight")):
                continue
            frames = ("late", "middle", "early") if name.endswith("time.late.weight") else ("late",)
            noise = torch.randn(torch.cat([parameter] * len(frames), min(1, parameter.ndim - 1)).shape, generator=generator)
            if name.endswith("gain"):
                noise = 1 + 0.1 * noise
            elif parameter.ndim == 1:
                noise = 0.05 * noise
            else:
                noise = noise * scale / math.sqrt(noise[0].numel())
            for frame, part in zip(frames, noise.chunk(len(frames), min(1, parameter.ndim - 1)), strict=True):
                module.get_parameter(name.replace("late", frame)).copy_(part)


def cosine_basis() -> Tensor:
    """[16, 768]: orthonormal patterns over channel, time, row and column, in the VAE's block order."""

    def cosine(frequency: int, length: int) -> Tensor:
        return torch.cos(math.pi * frequency * (torch.arange(length) + 0.5) / length)

    rows = []
    for colour, t, y, x in COSINES:
        pattern = torch.einsum("c,t,y,x->ctyx", COLOURS[colour], cosine(t, TEMPORAL), cosine(y, SPATIAL), cosine(x, SPATIAL))
        rows.append((pattern / pattern.norm()).flatten())
    return torch.stack(rows)


def permutation_to_blocks() -> Tensor:
    """Where each number of a [3,4,8,8] block ends up among the encoder's 768 channels."""
    from reel_tiny.vae.model import fold_time, gather_patches

    block = torch.arange(3 * TEMPORAL * SPATIAL * SPATIAL, dtype=torch.float64).reshape(1, 3, TEMPORAL, SPATIAL, SPATIAL)
    return gather_patches(gather_patches(fold_time(block, TEMPORAL), 4), 2).flatten().long()


def tiny_vae() -> CausalVae:
    """A VAE of the bundled model's kind whose round trip keeps the low frequencies."""
    vae = CausalVae(VaeConfig((8, 12), (1, 1), (8, 12), (1, 1), thin=4))
    randomise(vae, 1, 0.5)
    basis = cosine_basis()
    # A white frame has the first number at one.
    unit = math.sqrt(basis.shape[1])
    with torch.no_grad():
        vae.encoder.linear.weight.copy_((basis / unit)[:, permutation_to_blocks(), None, None])
        for layer in (vae.encoder.linear, vae.decoder.linear):
            layer.bias.mul_(0.1)
        # The networks beside the linear maps are kept small: seen by every test, yet the clip stays the clip.
        for layer, share in ((vae.encoder.head, 0.03), (vae.decoder.paint, 0.2)):
            layer.weight.mul_(share)
            layer.bias.mul_(share)
        # The decoder's linear map writes channels, frames, rows and columns in that order.
        vae.decoder.linear.weight.copy_((basis * unit).T[:, :, None, None])
    generator = torch.Generator().manual_seed(2)
    vae.set_latent_statistics(
        0.02 * torch.randn(LATENT_CHANNELS, generator=generator),
        torch.tensor([0.5] + [0.1] * (LATENT_CHANNELS - 1)) * (1 + 0.1 * torch.rand(LATENT_CHANNELS, generator=generator)),
    )
    return vae.eval()


class Attention(nn.Module):
    """One head. Keys whose mask is zero are not seen; a row of nothing but zeros sees all."""

    def __init__(self, width: int, context: int):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context, width)
        self.value = nn.Linear(context, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(context).transpose(1, 2) / math.sqrt(x.shape[-1])
        scores = scores - 1e4 * (1 - mask.to(x.dtype))[:, None]
        return torch.softmax(scores, -1) @ self.value(context)


class TinyTextEncoder(nn.Module):
    def __init__(self, vocabulary: int):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, EMBED_WIDTH)
        self.positions = nn.Embedding(MAX_TOKENS, EMBED_WIDTH)
        self.attention = Attention(EMBED_WIDTH, EMBED_WIDTH)
        randomise(self, 3, 2.0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """input_ids, attention_mask int64 [B,L]: embeddings [B,L,16], zero at padding."""
        x = self.tokens(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        x = x + self.attention(x, x, attention_mask)
        return x * attention_mask.to(x.dtype)[:, :, None]


class TinyDenoiser(nn.Module):
    """Sees every input: noise level, prompt, clean latents at known positions, and what the mask says of them."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.stem = nn.Conv3d(2 * LATENT_CHANNELS + MASK_CHANNELS, width, 3, padding=1)
        self.time = nn.Linear(16, width)
        self.attention = Attention(width, EMBED_WIDTH)
        self.head = nn.Conv3d(width, LATENT_CHANNELS, (3, 1, 1), padding=(1, 0, 0))
        randomise(self, 4, 1.0)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        prompt_embeds: Tensor,
        prompt_mask: Tensor,
        condition_latents: Tensor,
        condition_mask: Tensor,
    ) -> Tensor:
        """latents, condition_latents [B,16,t,h,w], timestep [B], condition_mask [B,2,t,h,w]: prediction [B,16,t,h,w]."""
        b, _, t, h, w = latents.shape
        x = self.stem(torch.cat([latents, condition_latents, condition_mask], 1))
        angles = timestep[:, None] / 1000 * torch.arange(1, 9) * (math.pi / 2)
        level = self.time(torch.cat([torch.sin(angles), torch.cos(angles)], 1))
        x = F.silu(x + level[:, :, None, None, None])
        seen = self.attention(x.flatten(2).transpose(1, 2), prompt_embeds, prompt_mask)
        x = x + seen.transpose(1, 2).reshape(b, -1, t, h, w)
        # Towards the latents themselves, so that a run of many steps stays in range.
        return 0.5 * latents + torch.tanh(self.head(x))
