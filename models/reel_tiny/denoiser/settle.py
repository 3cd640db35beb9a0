"""What rests comes to rest: a filter in time over the clean latents that the denoiser predicts.

Where nothing moves a prediction still changes a little from latent frame to latent frame, and a clip that stands still twitches where groups of four
frames meet. Each position becomes a mean of its own past and future, weighed by how alike they look there: non-local means
(Buades, Coll and Morel 2005) along time. What moves differs by several times NEAR, and stays as it is. Nothing here is learnt, nor used in training.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

# Distance of two latent frames at a position that counts as noise, over its 16 channels: where renders rest half of the steps are below 0.5, where they move above 3.
NEAR = 0.6
# Noise levels (sigma) up to which all of it is used, and from which on nothing: above, a clip has yet to be told apart from its mean.
WHOLE, NONE = 0.5, 0.75


def settle(clean: Tensor) -> Tensor:
    """[B, C, t, h, w] to the same shape."""
    batch, _, frames, height, width = clean.shape
    apart = (clean[:, :, :, None] - clean[:, :, None]).square().sum(1)
    # Over the neighbours too, by which noise averages out and motion does not.
    around = F.avg_pool2d(apart.flatten(1, 2), 3, stride=1, padding=1, count_include_pad=False)
    alike = (around.view(batch, frames, frames, height, width) / (-2 * NEAR**2)).softmax(2)
    return (alike[:, None] * clean[:, :, None]).sum(3)


def settled(prediction: Tensor, latents: Tensor, sigma: Tensor) -> Tensor:
    """The prediction (noise - x0) [B, C, t, h, w] at noise levels `sigma` [B], of which x0 has settled as far as the level allows."""
    level = sigma[:, None, None, None, None]
    clean = latents - level * prediction
    share = ((NONE - level) / (NONE - WHOLE)).clamp(0, 1)
    return prediction + share * (clean - settle(clean)) / level.clamp_min(1e-3)
