"""The denoiser: a U-net over latents [B, 16, t, h, w] that looks at space with convolutions and at time with attention.

Rectified flow: x = (1 - sigma) x0 + sigma noise, the prediction is noise - x0. Inside, the network works on unit-variance
input and target (the preconditioning of Karras et al. 2022, arXiv:2206.00364, worked out for this path): with
s^2 = sigma^2 + (1 - sigma)^2, prediction = (2 sigma - 1) / s^2 x + F(x / s) / s, and F's target has variance 1 at every sigma.

All spatial work is done with frames in the batch axis. At t = 1 nothing temporal runs, so that pictures train the spatial
part at a seventh of a clip's cost. An exported graph can't skip layers, so there (`exporting`) a gate of 0 or 1 does it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .follow import Follow
from .planner import DRAFT_CHANNELS, MOMENTS, POSE, THINGS, Planner, draft
from .positions import middles, places, sinusoid
from .settle import settled

EPSILON = 1e-5


@dataclass(frozen=True)
class Config:
    latent_channels: int = 16
    text_width: int = 192
    widths: tuple[int, int, int] = (128, 256, 256)
    encoder_blocks: tuple[int, int] = (1, 2)
    decoder_blocks: tuple[int, int] = (3, 3)
    coarse_blocks: int = 4
    embedding: int = 384
    head_width: int = 64
    things: int = THINGS
    # Whether things in some styles follow their draft (see follow.py): no part of training.
    follows: bool = False

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Norm(nn.Module):
    """RMS norm over the channels of each position [N, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        scale = torch.rsqrt((x32 * x32).mean(1, keepdim=True) + EPSILON)
        return (x * scale).to(x.dtype) * self.weight[:, None, None].to(x.dtype)


class Residual(nn.Module):
    """Two 3x3 convolutions; sigma, prompt and frame index scale and shift between them."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        h = F.silu(self.conv1(F.silu(self.norm(x))) * (1 + scale) + shift)
        return x + self.conv2(h)


class TemporalConv(nn.Module):
    """Each position sees itself one latent frame before and after; starts as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.mix = nn.Conv2d(3 * channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor, frames: int, gate: Tensor | float) -> Tensor:
        count, channels, height, width = x.shape
        h = F.silu(self.norm(x)).reshape(count // frames, frames, channels, height, width)
        edge = torch.zeros_like(h[:, :1])
        near = torch.cat([torch.cat([edge, h[:, :-1]], 1), h, torch.cat([h[:, 1:], edge], 1)], 2)
        return x + gate * self.mix(near.reshape(count, 3 * channels, height, width))


class Attention(nn.Module):
    """Multi-head attention of tokens [N, L, C] over themselves or over a context."""

    def __init__(self, channels: int, head_width: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(context or channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q(x), *self.kv(context).chunk(2, 2)))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        mixed = scores.float().softmax(-1).to(v.dtype) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


def padding_bias(text: Tensor) -> Tensor:
    """What `Attention` adds to scores over prompts [B, L, D], so that padding, which is zero, counts for nothing."""
    return ((text.abs().amax(-1) == 0) * -1e4).to(text.dtype)[:, None, None, :]


def to_tokens(x: Tensor, clips: int) -> Tensor:
    """[clips * t, C, h, w] -> [clips, t * h * w, C]"""
    return x.permute(0, 2, 3, 1).reshape(clips, -1, x.shape[1])


def from_tokens(tokens: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return tokens.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Each position of [N, C, h, w] twice in both directions, cut to the size of `like`, which may be odd.

    Not `F.interpolate`: compiled by PyTorch 2.13 for the CPU, that passes no gradient on. Stacks, as onnxruntime takes eight times as long to expand.
    """
    wide = torch.stack([x, x], 4).flatten(3)
    return torch.stack([wide, wide], 3).flatten(2, 3)[:, :, : like.shape[2], : like.shape[3]]


class SpaceTime(nn.Module):
    """Attention over every position of every frame, which knows where each one is, then over the words."""

    def __init__(self, channels: int, head_width: int, text_width: int) -> None:
        super().__init__()
        self.norm1 = Norm(channels)
        self.place = nn.Linear(96, channels, bias=False)
        self.own = Attention(channels, head_width)
        self.norm2 = Norm(channels)
        self.words = Attention(channels, head_width, text_width)
        nn.init.zeros_(self.place.weight)

    def forward(self, x: Tensor, place: Tensor, text: Tensor, bias: Tensor) -> Tensor:
        tokens = to_tokens(self.norm1(x), text.shape[0]) + self.place(to_tokens(place, text.shape[0]))
        x = x + from_tokens(self.own(tokens, tokens), x)
        return x + from_tokens(self.words(to_tokens(self.norm2(x), text.shape[0]), text, bias), x)


class Space(nn.Module):
    """Attention within each frame."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.own = Attention(channels, head_width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(self.norm(x), x.shape[0])
        return x + from_tokens(self.own(tokens, tokens), x)


class Time(nn.Module):
    """Attention of each position over its own past and future."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.own = Attention(channels, head_width)

    def forward(self, x: Tensor, frames: int, gate: Tensor | float) -> Tensor:
        count, channels, height, width = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(count // frames, frames, height * width, channels)
        tokens = tokens.transpose(1, 2).reshape(-1, frames, channels)
        mixed = self.own(tokens, tokens).reshape(count // frames, height * width, frames, channels)
        return x + gate * from_tokens(mixed.transpose(1, 2), x)


class Placing(nn.Module):
    """Where the thing is, as far as features [N, C, h, w] show: what to add to where the words have it [N, 20]. Starts as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.read = nn.Sequential(nn.Linear(3 * channels, channels), nn.SiLU(), nn.Linear(channels, MOMENTS * POSE))
        nn.init.zeros_(self.read[-1].weight)
        nn.init.zeros_(self.read[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        rows, columns = (2 * middles(side, x) - 1 for side in x.shape[2:])
        return self.read(torch.cat([weighted.mean((2, 3)) for weighted in (h, h * rows[:, None], h * columns)], 1))


class Denoiser(nn.Module):
    """Forward: see `forward`. Height and width may be anything; they are halved twice, rounding up."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.exporting = False
        fine, middle, coarse = config.widths
        e, head = config.embedding, config.head_width
        self.sigma_embedding = nn.Sequential(nn.Linear(128, e), nn.SiLU(), nn.Linear(e, e))
        self.text_embedding = nn.Sequential(nn.Linear(config.text_width, e), nn.SiLU(), nn.Linear(e, e))
        self.frame_embedding = nn.Sequential(nn.Linear(64, e), nn.SiLU(), nn.Linear(e, e))
        self.joint_embedding = nn.Sequential(nn.SiLU(), nn.Linear(e, e), nn.SiLU(), nn.Linear(e, e))
        self.planner = Planner(config.text_width, config.things).requires_grad_(False)
        self.follow = Follow(config.text_width, config.latent_channels).requires_grad_(False) if config.follows else None
        self.draft_in = nn.Conv2d(DRAFT_CHANNELS, fine, 1)
        self.placing = Placing(middle)
        self.draft_out = nn.Conv2d(DRAFT_CHANNELS, fine, 1)
        self.stem = nn.Conv2d(2 * config.latent_channels + 2, fine, 3, padding=1)
        self.fine_in = nn.ModuleList(Residual(fine, e) for _ in range(config.encoder_blocks[0]))
        self.fine_in_time = TemporalConv(fine)
        self.down1 = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in = nn.ModuleList(Residual(middle, e) for _ in range(config.encoder_blocks[1]))
        self.middle_in_time = TemporalConv(middle)
        self.down2 = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(Residual(coarse, e) for _ in range(config.coarse_blocks))
        self.coarse_attention = nn.ModuleList(SpaceTime(coarse, head, config.text_width) for _ in range(config.coarse_blocks))
        self.up2 = nn.Conv2d(coarse, middle, 1)
        self.skip2 = nn.Conv2d(middle, middle, 1)
        self.middle_space = Space(middle, head)
        self.middle_attention = SpaceTime(middle, head, config.text_width)
        self.middle_time = Time(middle, head)
        self.middle_out_time = TemporalConv(middle)
        self.middle_out = nn.ModuleList(Residual(middle, e) for _ in range(config.decoder_blocks[1]))
        self.up1 = nn.Conv2d(middle, fine, 1)
        self.skip1 = nn.Conv2d(fine, fine, 1)
        self.fine_time = Time(fine, head)
        self.fine_out_time = TemporalConv(fine)
        self.fine_out = nn.ModuleList(Residual(fine, e) for _ in range(config.decoder_blocks[0]))
        self.norm_out = Norm(fine)
        self.out = nn.Conv2d(fine, config.latent_channels, 3, padding=1)
        for last in (self.joint_embedding[-1], self.draft_in, self.draft_out, self.out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def features(
        self, x: Tensor, index: Tensor, embedding: Tensor, text: Tensor, picture: Tensor, poses: Tensor, laid: Tensor, gate: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """F: [B * t, 34, h, w] (scaled noisy latents, condition latents, masks) -> [B * t, 16, h, w]; `index` [B, t] of the frames.

        The thing, `picture` [B, 4, 48, 48], is `laid` [B * t, 256, h, w] where the words have it (`poses` [B, t, 4, 5]) at first, and then where it was found
        to be: these poses come second.
        """
        frames = index.shape[1]
        moving = self.exporting or frames > 1
        bias = padding_bias(text)
        embedding = F.silu(embedding)
        fine = self.stem(x) + self.draft_in(laid)
        for block in self.fine_in:
            fine = block(fine, embedding)
        if moving:
            fine = self.fine_in_time(fine, frames, gate)
        middle = self.down1(fine)
        for block in self.middle_in:
            middle = block(middle, embedding)
        if moving:
            middle = self.middle_in_time(middle, frames, gate)
        h = self.down2(middle)
        coarse_places, middle_places = (places(index, *level.shape[-2:]) for level in (h, middle))
        for block, attention in zip(self.coarse, self.coarse_attention, strict=True):
            h = attention(block(h, embedding), coarse_places, text, bias)
        h = enlarge(self.up2(h), middle) + self.skip2(middle)
        h = self.middle_attention(self.middle_space(h), middle_places, text, bias)
        if moving:
            h = self.middle_out_time(self.middle_time(h, frames, gate), frames, gate)
        for block in self.middle_out:
            h = block(h, embedding)
        poses = poses + self.placing(h).view_as(poses)
        h = enlarge(self.up1(h), fine) + self.skip1(fine)
        h = h + self.draft_out(draft(picture, poses.detach(), *x.shape[-2:]))
        if moving:
            h = self.fine_out_time(self.fine_time(h, frames, gate), frames, gate)
        for block in self.fine_out:
            h = block(h, embedding)
        return self.out(F.silu(self.norm_out(h))), poses

    def forward(self, latents: Tensor, timestep: Tensor, *others: Tensor) -> Tensor:
        """The prediction of `denoise`, of which what rests has come to rest (see settle.py)."""
        prediction, _ = self.denoise(latents, timestep, *others)
        return settled(prediction, latents, timestep / 1000.0)

    def denoise(
        self,
        latents: Tensor,
        timestep: Tensor,
        prompt_embeds: Tensor,
        condition_latents: Tensor,
        condition_mask: Tensor,
        reference: Tensor | None = None,
        *,
        first_frame: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Prediction (noise - x0) [B, 16, t, h, w]; poses of the thing as far as they can be told [B, t, 4, 5] (see planner.py).

        latents, condition_latents [B, 16, t, h, w]; condition_mask [B, 2, t, h, w] (keep, follow); timestep [B] is
        1000 sigma; prompt_embeds [B, L, 192]; reference [B, 4, 48, 48], what takes the place of the thing's picture (see
        planner.py), zeros for none. Where no condition is given the draft may be followed (see follow.py). `first_frame` [B]: index of
        the first latent frame within its clip, 0 if absent.
        """
        batch, channels, frames, height, width = latents.shape
        index = torch.arange(frames, device=latents.device).float()
        index = index.expand(batch, frames) if first_frame is None else index + first_frame[:, None].float()
        summary = prompt_embeds[:, 0]
        picture, poses = self.planner.picture(summary, reference), self.planner.poses(summary, index)
        laid = draft(picture, poses, height, width)
        if self.follow is not None:
            condition_latents, condition_mask = self.follow(laid.unflatten(0, (batch, frames)), summary, condition_latents, condition_mask)
        sigma = timestep / 1000.0
        s = torch.sqrt(sigma.square() + (1 - sigma).square())[:, None, None, None, None]
        seen = torch.cat([latents / s, condition_latents * condition_mask.amax(1, keepdim=True), condition_mask], 1)
        gate = index[0, -1].clamp(max=1.0) if self.exporting else 1.0
        place = self.frame_embedding(sinusoid(index.reshape(-1), 64, 100.0))
        whole = self.sigma_embedding(sinusoid(timestep, 128, 1000.0)) + self.text_embedding(summary)
        embedding = (whole[:, None] + place.view(batch, frames, -1)).reshape(batch * frames, -1)
        embedding = embedding + self.joint_embedding(embedding)
        x = seen.transpose(1, 2).reshape(batch * frames, -1, height, width)
        f, poses = self.features(x.contiguous(memory_format=torch.channels_last), index, embedding, prompt_embeds, picture, poses, laid, gate)
        f = f.view(batch, frames, channels, height, width).transpose(1, 2)
        shift = (2 * sigma - 1)[:, None, None, None, None]
        return shift / s.square() * latents + f.float() / s, poses
