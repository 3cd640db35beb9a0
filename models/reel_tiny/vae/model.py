"""A causal 3D VAE that turns 4 frames of 8x8 pixels into 16 numbers.

All work is done at a quarter of the frame rate and at most a quarter of the size; full-size pixels meet a
rearrangement and one thin convolution. Encoder and decoder are each a linear map, closed-form from the principal
components of 4x8x8 blocks, plus a network that starts at zero, so an untrained VAE is already a block transform codec.

Inside, frames are stacked time-major in the batch axis: [t*B, C, h, w]. Convolutions over space are then plain 2-D
ones and "one latent frame earlier" is a slice. Outside, everything is [B, C, T, H, W].
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPORAL = 4
SPATIAL = 8
LATENT_CHANNELS = 16
STATE_FRAMES = 2
EPSILON = 1e-6
# Heavy tails (edges, cuts) are squeezed by s*asinh(z/s); beyond this value the inverse would only amplify nonsense.
SQUEEZE = 3.0
SQUEEZE_LIMIT = 8.0


@dataclass(frozen=True)
class VaeConfig:
    encoder_widths: tuple[int, int] = (96, 192)
    encoder_depths: tuple[int, int] = (2, 3)
    decoder_widths: tuple[int, int] = (128, 192)
    decoder_depths: tuple[int, int] = (4, 8)
    thin: int = 16

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "VaeConfig":
        return VaeConfig(**{k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()})


# Every rearrangement is a chain of moves of one axis each: onnxruntime has a fast path for those, which takes a sixth of
# the time that the same rearrangement takes as one transposition over six or eight axes.


def gather_patches(x: Tensor, patch: int) -> Tensor:
    """[N,C,H,W] as [N, C*patch*patch, H/patch, W/patch]."""
    n, c, height, width = x.shape
    h, w = height // patch, width // patch
    x = x.reshape(n * c, h, patch, width).transpose(1, 2)
    x = x.reshape(n * c * patch, h * w, patch).transpose(1, 2)
    return x.reshape(n, c * patch * patch, h, w)


def spread_patches(x: Tensor, patch: int) -> Tensor:
    """The inverse of `gather_patches`: [N, C, H*patch, W*patch] of [N, C*patch*patch, H, W]."""
    n, c, h, w = x.shape
    c = c // patch**2
    x = x.reshape(n * c * patch, patch, h * w).transpose(1, 2)
    x = x.reshape(n * c, patch, h, w * patch).transpose(1, 2)
    return x.reshape(n, c, h * patch, w * patch)


def fold_time(x: Tensor, frames: int = 1) -> Tensor:
    """[B,C,T,H,W] as [T/frames*B, C*frames, H, W]."""
    b, c, t, h, w = x.shape
    x = x.reshape(b, c, t // frames, frames * h * w).permute(2, 0, 1, 3)
    return x.reshape(t // frames * b, c * frames, h, w)


def unfold_time(x: Tensor, batch: int) -> Tensor:
    """[T*B,C,H,W] as [B,C,T,H,W]."""
    n, c, h, w = x.shape
    x = x.reshape(n // batch, batch, c, h * w).permute(1, 2, 0, 3)
    return x.reshape(batch, c, n // batch, h, w)


def open_frames(x: Tensor, batch: int) -> Tensor:
    """[t*B, C*4, H, W], where a latent frame's four lie in the channels, as [4*t*B, C, H, W]."""
    n, c, h, w = x.shape
    x = x.reshape(n // batch, batch * c // TEMPORAL, TEMPORAL, h * w).transpose(1, 2)
    return x.reshape(n * TEMPORAL, c // TEMPORAL, h, w)


def squeeze_tails(x: Tensor) -> Tensor:
    """s*asinh(x/s), in operations that every ONNX provider has."""
    a = x.abs() / SQUEEZE
    return torch.sign(x) * SQUEEZE * torch.log(a + torch.sqrt(a * a + 1))


def stretch_tails(z: Tensor) -> Tensor:
    """The inverse of `squeeze_tails`, clamped."""
    e = torch.exp(z.clamp(-SQUEEZE_LIMIT, SQUEEZE_LIMIT) / SQUEEZE)
    return (e - 1 / e) * (SQUEEZE / 2)


class Norm(nn.Module):
    """Root-mean-square norm over channels at each position: no statistic crosses time or space, so streaming is exact."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + EPSILON) * self.gain


class CausalTime(nn.Module):
    """Mixes each latent frame with the two before it.

    What crosses time is normalised first: however violent a frame is, its echo in later frames stays bounded.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = Norm(channels)
        self.late = nn.Conv2d(channels, channels, 1)
        self.middle = nn.Conv2d(channels, channels, 1, bias=False)
        self.early = nn.Conv2d(channels, channels, 1, bias=False)
        for parameter in (self.late.weight, self.late.bias, self.middle.weight, self.early.weight):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [t*B,C,h,w], state [B,C,2,h,w]: the mixed frames and the next state."""
        batch = state.shape[0]
        late = self.norm(x)
        seen = torch.cat([fold_time(state), late])
        mixed = self.late(late) + self.middle(seen[batch:-batch]) + self.early(seen[: -2 * batch])
        return mixed, unfold_time(seen[-STATE_FRAMES * batch :], batch)


class Down(nn.Conv2d):
    """[N,C,H,W] as [N,C',H/2,W/2]: the convolution of what gather_patches makes of patches of 2x2, in one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.reshape(len(self.weight), -1, 2, 2), self.bias, 2)


class Up(nn.Conv2d):
    """[N,C,h,w] as [N,C'/4,2h,2w]: the inverse, patches of a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return spread_patches(super().forward(x), 2)


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = Norm(channels)
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.time = CausalTime(channels)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = F.silu(self.inner(self.norm(x)))
        mixed, state = self.time(h, state)
        return x + self.outer(h + mixed), state


@dataclass(frozen=True)
class StateSpec:
    """Size of one causal state: [B, channels, 2, H/divisor, W/divisor]."""

    channels: int
    divisor: int


class Half(nn.Module):
    """What encoder and decoder share: their states."""

    state_specs: list[StateSpec]

    def empty_states(self, batch: int, height: int, width: int, like: Tensor) -> list[Tensor]:
        """Zeros for the pixel size height x width, in the outside layout."""
        return [
            like.new_zeros(batch, s.channels, STATE_FRAMES, height // s.divisor, width // s.divisor)
            for s in self.state_specs
        ]


class Encoder(Half):
    def __init__(self, config: VaeConfig):
        super().__init__()
        (c1, c2), (n1, n2) = config.encoder_widths, config.encoder_depths
        self.linear = Down(3 * TEMPORAL * SPATIAL * SPATIAL, LATENT_CHANNELS, 1)
        self.stem = nn.Conv2d(192, c1, 3, padding=1)
        self.fine = nn.ModuleList(Block(c1) for _ in range(n1))
        self.down = Down(4 * c1, c2, 1)
        self.coarse = nn.ModuleList(Block(c2) for _ in range(n2))
        self.norm = Norm(c2)
        self.head = nn.Conv2d(c2, 2 * LATENT_CHANNELS, 1)
        self.register_buffer("latent_mean", torch.zeros(LATENT_CHANNELS))
        self.register_buffer("latent_std", torch.ones(LATENT_CHANNELS))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[LATENT_CHANNELS:] = -5.0
        self.state_specs = [StateSpec(c1, 4)] * n1 + [StateSpec(c2, 8)] * n2

    def posterior(self, pixels: Tensor, states: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Mean and log-variance [t*B,16,h,w] before normalisation, and the next states."""
        patches = gather_patches(fold_time(pixels, TEMPORAL), 4)
        new_states = []

        def run(block: Block, x: Tensor) -> Tensor:
            x, state = block(x, states[len(new_states)])
            new_states.append(state)
            return x

        h = self.stem(patches)
        for block in self.fine:
            h = run(block, h)
        h = self.down(h)
        for block in self.coarse:
            h = run(block, h)
        mean, log_variance = self.head(self.norm(h)).chunk(2, 1)
        return squeeze_tails(self.linear(patches) + mean), log_variance, new_states

    def forward(self, pixels: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Latents [B,16,T/4,H/8,W/8] of zero mean and unit variance, then the next states."""
        mean, _, new_states = self.posterior(pixels, list(states))
        mean = (mean - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]
        return unfold_time(mean, pixels.shape[0]), *new_states


class Decoder(Half):
    def __init__(self, config: VaeConfig):
        super().__init__()
        (c1, c2), (n1, n2) = config.decoder_widths, config.decoder_depths
        self.linear = nn.Conv2d(LATENT_CHANNELS, 3 * TEMPORAL * SPATIAL * SPATIAL, 1)
        self.stem = nn.Conv2d(LATENT_CHANNELS, c2, 3, padding=1)
        self.coarse = nn.ModuleList(Block(c2) for _ in range(n2))
        self.up = Up(c2, 4 * c1, 1)
        self.fine = nn.ModuleList(Block(c1) for _ in range(n1))
        self.spread = Up(c1, config.thin * TEMPORAL * 4, 3, padding=1)
        self.paint = nn.Conv2d(config.thin, 12, 3, padding=1)
        self.register_buffer("latent_mean", torch.zeros(LATENT_CHANNELS))
        self.register_buffer("latent_std", torch.ones(LATENT_CHANNELS))
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)
        self.state_specs = [StateSpec(c2, 8)] * n2 + [StateSpec(c1, 4)] * n1

    def paint_frames(self, z: Tensor, batch: int, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Pixels [B,3,T,H,W] of latents [t*B,16,h,w] that are not normalised, and the next states."""
        new_states = []

        def run(block: Block, x: Tensor) -> Tensor:
            x, state = block(x, states[len(new_states)])
            new_states.append(state)
            return x

        h = self.stem(z)
        for block in self.coarse:
            h = run(block, h)
        h = self.up(h)
        for block in self.fine:
            h = run(block, h)
        # A latent frame opens into its four frames here, still at half size: [T*B, thin, H/2, W/2].
        h = F.silu(open_frames(self.spread(h), batch))
        pixels = spread_patches(self.paint(h), 2)
        pixels = pixels + open_frames(spread_patches(self.linear(stretch_tails(z)), SPATIAL), batch)
        return unfold_time(pixels, batch), new_states

    def forward(self, latents: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Pixels [B,3,4t,8h,8w], about [-1,1] but not clamped, then the next states."""
        z = fold_time(latents) * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        pixels, new_states = self.paint_frames(z, latents.shape[0], list(states))
        return pixels, *new_states


class CausalVae(nn.Module):
    """Encoder and decoder, and the frame rule: a clip of 4k+1 frames is k+1 latent frames."""

    def __init__(self, config: VaeConfig = VaeConfig()):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents [B,16,k+1,H/8,W/8] of pixels [B,3,4k+1,H,W] in [-1,1]: the posterior mean, unit variance."""
        if pixels.shape[2] % TEMPORAL != 1:
            raise ValueError(f"Expected pixels to have 4k+1 frames, got {pixels.shape[2]}. Drop or repeat frames.")
        pixels = torch.cat([pixels[:, :, :1].expand(-1, -1, TEMPORAL - 1, -1, -1), pixels], 2)
        states = self.encoder.empty_states(pixels.shape[0], *pixels.shape[3:], pixels)
        return self.encoder(pixels, *states)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B,3,4k+1,H,W] of latents [B,16,k+1,H/8,W/8], not clamped."""
        b, _, _, h, w = latents.shape
        states = self.decoder.empty_states(b, h * SPATIAL, w * SPATIAL, latents)
        return self.decoder(latents, *states)[0][:, :, TEMPORAL - 1 :]

    @torch.no_grad()
    def set_latent_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Makes the latents outside have zero mean and unit variance, given what they have inside."""
        for half in (self.encoder, self.decoder):
            half.latent_mean.copy_(mean)
            half.latent_std.copy_(std)
