"""A thing in a style that hides things is drawn as a restyle of its draft.

From words alone a network of this size loses things in pencil or in thermal colours, and keeps them where it restyles a clip. The planner's draft
(see planner.py) shows the thing as it is without a style, so here it becomes a source: a small network tells the latents that the VAE would make of it, and
the denoiser follows those where the thing is, as it follows the latents of a clip that is restyled. Only where nothing else is given, and the words ask for such a style.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .planner import DRAFT_CHANNELS, MOMENTS

# How much of a position the thing has to cover to be followed there.
COVERED = 0.35
WIDTH, BLOCKS = 64, 2


class Block(nn.Module):
    """Two 3x3 convolutions of [N, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Follow(nn.Module):
    """What of a draft is to be followed."""

    def __init__(self, text_width: int, latent_channels: int) -> None:
        super().__init__()
        # The VAE is causal: a latent frame shows what was before it as well.
        self.read = nn.Conv2d(2 * DRAFT_CHANNELS, WIDTH, 1)
        self.blocks = nn.ModuleList(Block(WIDTH) for _ in range(BLOCKS))
        self.out = nn.Conv2d(WIDTH, latent_channels, 3, padding=1)
        self.hides = nn.Linear(text_width, 1)

    def encode(self, drafts: Tensor) -> Tensor:
        """Latents [B, 16, t, h, w] of drafts [B, t, 256, h, w] over grey, as the VAE makes them."""
        before = torch.cat([drafts[:, :1], drafts[:, :-1]], 1)
        h = self.read(torch.cat([before, drafts], 2).flatten(0, 1))
        for block in self.blocks:
            h = block(h)
        return self.out(F.silu(h)).unflatten(0, drafts.shape[:2]).transpose(1, 2)

    def forward(self, drafts: Tensor, summary: Tensor, condition_latents: Tensor, condition_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Condition latents and mask, as `Denoiser.denoise` takes them, of drafts [B, t, 256, h, w] for prompts summed up as [B, 192].

        Those that are given where they mark anything, or where nothing is to be followed.
        """
        wanted = (self.hides(summary)[:, 0] > 0) & (condition_mask.amax((1, 2, 3, 4)) == 0)
        follow = ((covered(drafts) > COVERED) & wanted[:, None, None, None])[:, None].to(condition_mask.dtype)
        return condition_latents * (1 - follow) + follow * self.encode(drafts), condition_mask + torch.cat([0 * follow, follow], 1)


def covered(drafts: Tensor) -> Tensor:
    """[B, t, h, w]: how much of each position the thing of drafts [B, t, 256, h, w] covers, mean of its moments."""
    return drafts.unflatten(2, (MOMENTS, 4, -1))[:, :, :, 3].mean((2, 3))
