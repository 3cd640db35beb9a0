"""Writes test/goldens/pipelines.safetensors: clips that every pipeline should make with the tiny bundle, worked out in PyTorch
with diffusers' schedulers, whole clips at once where reelspace streams. Also writes the sources that the clips start from.

Run from the repository root: PYTHONPATH=models:models/goldens python models/goldens/make_pipelines.py
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image
from safetensors.torch import save_file
from tiny_bundle.make import VOCABULARY, make_tokenizer, moving_clip
from tiny_bundle.modules import MASK_CHANNELS, TinyDenoiser, TinyTextEncoder, tiny_vae
from torch import Tensor

GOLDENS = Path("test/goldens")
WIDTH, HEIGHT = 24, 40
WINDOW, OVERLAP = 4, 2
STEPS, GUIDANCE, SEED = 4, 3.0, 7

torch.set_num_threads(1)
torch.set_grad_enabled(False)
vae, text_encoder, denoiser, tokenizer = tiny_vae(), TinyTextEncoder(len(VOCABULARY)), TinyDenoiser(), make_tokenizer()


def embed(prompts: list[str]) -> list[tuple[Tensor, Tensor]]:
    encoded = [tokenizer.encode(p).ids for p in prompts]
    length = max(map(len, encoded))
    ids = torch.tensor([e + [VOCABULARY["[PAD]"]] * (length - len(e)) for e in encoded])
    mask = torch.tensor([[1] * len(e) + [0] * (length - len(e)) for e in encoded])
    embeds = text_encoder(ids, mask)
    return [(embeds[i : i + 1], mask[i : i + 1]) for i in range(len(prompts))]


def randn(shape, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_scheduler(name: str):
    if name == "unipc":
        scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(STEPS)
    return scheduler


def predict(latents, timestep, prompt, negative, guidance, known, mask, follow):
    condition, condition_mask = torch.zeros_like(latents), torch.zeros(1, MASK_CHANNELS, *latents.shape[2:])
    if follow is not None:
        condition, condition_mask[:, 1] = follow.clone(), 1.0
    if known is not None:
        condition = torch.where(mask == 1, known, condition)
        condition_mask[:, :1] = mask
        condition_mask[:, 1:] *= 1 - mask

    def run(embeds):
        return denoiser(latents, timestep[None].float(), embeds[0], embeds[1], condition, condition_mask)

    conditional = run(prompt) if isinstance(prompt, tuple) else sum(w.view(1, 1, -1, 1, 1) * run(p) for p, w in prompt)
    if guidance <= 1:
        return conditional
    unconditional = run(negative)
    return unconditional + guidance * (conditional - unconditional)


def sample(shape, prompt, negative, *, noise, guidance=GUIDANCE, scheduler="euler", strength=1.0, source=None, known=None, mask=None,
           follow=None, windows=None, renewal=None):
    """One run of the denoise loop; with windows, all blended at every step by ramps that MultiDiffusion would divide out. `renewal` is the share
    of the steps that counts at each position of the source; a step that counts in part is mixed with the source."""
    rule = make_scheduler(scheduler)
    skipped = STEPS - min(int(STEPS * strength), STEPS)
    timesteps, sigmas = rule.timesteps[skipped:], rule.sigmas[skipped:]
    rule.set_begin_index(skipped)
    latents = noise.clone()

    def noised(clean, sigma):
        return (1 - sigma) * clean + sigma * noise

    if source is not None and strength < 1:
        latents = noised(source, sigmas[0])
    if known is not None:
        latents = torch.where(mask == 1, noised(known, sigmas[0]), latents)
    for i, timestep in enumerate(timesteps):
        if windows is None:
            prediction = predict(latents, timestep, prompt, negative, guidance, known, mask, follow)
        else:
            total, weight = torch.zeros_like(latents), torch.zeros(shape[2])
            for k, (start, end) in enumerate(windows):
                before = windows[k - 1][1] - start if k else 0
                after = end - windows[k + 1][0] if k + 1 < len(windows) else 0
                ramp = torch.tensor([min(1, (f + 1) / (before + 1), (end - start - f) / (after + 1)) for f in range(end - start)])
                here = prompt if isinstance(prompt, tuple) else [(p, w[start:end]) for p, w in prompt]
                held = (None, None) if known is None else (known[:, :, start:end], mask[:, :, start:end])
                part = predict(latents[:, :, start:end], timestep, here, negative, guidance, *held, None)
                total[:, :, start:end] += ramp.view(1, 1, -1, 1, 1) * part
                weight[start:end] += ramp
            prediction = total / weight.view(1, 1, -1, 1, 1)
        latents = rule.step(prediction, timestep, latents).prev_sample
        if renewal is not None:
            counts = (i + 1 - len(timesteps) * (1 - renewal)).clamp(0, 1)
            latents = torch.lerp(noised(source, sigmas[i + 1]) if i + 1 < len(timesteps) else source, latents, counts)
        if known is not None:
            target = noised(known, sigmas[i + 1]) if i + 1 < len(timesteps) else known
            latents = torch.where(mask == 1, target, latents)
    return latents


def stream(shape, prompt, negative, *, source=None, follow=False, known=None, mask=None, **rest):
    """Windows one after the other; each keeps what it shares with the one before."""
    total, made, index, start = shape[2], None, 0, 0
    while True:
        end = min(start + WINDOW, total)
        start = max(0, end - WINDOW)
        window = (*shape[:2], end - start, *shape[3:])
        part = None if source is None else source[:, :, start:end]
        k = torch.zeros(window) if known is None else known[:, :, start:end].clone()
        m = torch.zeros(1, 1, *window[2:]) if mask is None else mask[:, :, start:end].clone()
        shared = 0 if made is None else made.shape[2] - start
        if shared:
            k[:, :, :shared], m[:, :, :shared] = made[:, :, start:], 1.0
        none = mask is None and not shared
        result = sample(window, prompt, negative, noise=randn(window, SEED + index), source=part, follow=part if follow else None,
                        known=None if none else k, mask=None if none else m, **rest)
        made = result if made is None else torch.cat([made, result[:, :, shared:]], 2)
        if end == total:
            return made
        index, start = index + 1, end - OVERLAP


def to_frames(pixels: Tensor) -> Tensor:
    return ((pixels[0].clamp(-1, 1).permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8)


def frames_of(latents: Tensor) -> Tensor:
    return to_frames(vae.decode(latents))


def glided(latents: Tensor) -> Tensor:
    """Frames between two pictures: the stills that latent frames decode to, at even distances before the last one's first frame, faded."""
    pixels, count = vae.decode(latents), latents.shape[2]
    stills, last = pixels[:, :, ::4].clone(), 4 * (count - 2) + 1
    stills[:, :, -1] = pixels[:, :, last]
    for frame in range(1, last):
        place = frame * (count - 1) / last
        pixels[:, :, frame] = torch.lerp(stills[:, :, int(place)], stills[:, :, int(place) + 1], place - int(place))
    return to_frames(pixels)


def pad(frames: Tensor) -> Tensor:
    """Repeats the last frame up to 4k + 1 frames."""
    missing = -(frames.shape[0] - 1) % 4
    return torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])


def encode(frames: Tensor) -> Tensor:
    return vae.encode(frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1)


def still_latents(picture: Tensor, count: int) -> Tensor:
    few = encode(picture[None].expand(4 * min(count, 4) - 3, -1, -1, -1))
    return few if count <= 4 else torch.cat([few, few[:, :, -1:].expand(-1, -1, count - 4, -1, -1)], 2)


def slerp(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    cosine = torch.sum(a * b) / (a.norm() * b.norm())
    if abs(cosine) > 0.9995:
        return (1 - amount) * a + amount * b
    angle = torch.acos(cosine)
    return (torch.sin((1 - amount) * angle) * a + torch.sin(amount * angle) * b) / torch.sin(angle)


def spread_path(ends: Callable[[int], list[Tensor]], places: list[float], spread: float = 0.9) -> tuple[Tensor, Tensor]:
    """The path through what stands at each keyframe at a time, and how much each position is between two of them."""
    count, frames, between = len(places), [], []
    segments = len(ends(0)) - 1
    ramp = (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000

    def changed(front, before):
        return ((front - spread * before) / (1 - spread)).clamp(0, 1)

    for frame, place in enumerate(places):
        segment = min(int(place), segments - 1)
        a, b = (ends(int((2 * segment + 1) * (count - 1) / (2 * segments) + 0.5))[segment + k][0, :, 0].double() for k in (0, 1))
        change = (a - b).square().sum(0)
        change /= change.sum()
        rows, columns = (torch.arange(side, dtype=torch.float64) for side in change.shape)
        away = torch.hypot(*(line - (line * change).sum() for line in (rows[:, None], columns[None])))
        before = ((away.flatten()[:, None] > away.flatten()) * change.flatten()).sum(1).view_as(change) + change / 2
        low, high = torch.zeros(()).double(), torch.ones(()).double()
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if changed(middle, ramp).mean() < place - segment else (low, middle)
        amounts = changed({0: low * 0, 1: high * 0 + 1}.get(place - segment, low), before).float()
        frames.append(slerp(*ends(frame)[segment : segment + 2], amounts))
        near = torch.nn.functional.max_pool2d((4 * amounts * (1 - amounts))[None], 3, 1, 1)
        between.append(near[None, None])
    return torch.cat(frames, 2), torch.cat(between, 2)


def write_video(path: Path, frames: Tensor, rate: int) -> None:
    t, h, w, _ = frames.shape
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(rate), "-i", "-"]
    subprocess.run([*command, "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path)], input=frames.numpy().tobytes(), check=True)


def shape_of(frames: int) -> tuple[int, ...]:
    return (1, 16, frames, HEIGHT // 8, WIDTH // 8)


def main() -> None:
    clip = ((moving_clip(26, HEIGHT, WIDTH)[0].permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8)
    long, short = clip[:23], clip[:11]
    write_video(GOLDENS / "long.mkv", long, 8)
    write_video(GOLDENS / "short.mkv", short, 8)
    first, last = clip[2], clip[20].flip(1)
    Image.fromarray(first.numpy()).save(GOLDENS / "first.png")
    Image.fromarray(last.numpy()).save(GOLDENS / "last.png")

    (cat, fox, beach, empty) = embed(["a cat on the beach", "a red fox", "the sea at night", ""])
    # What a run embeds in one call shares one padded length; masks make it the same at any length.
    latents: dict[str, Tensor] = {}
    pictures: dict[str, Tensor] = {}

    def keep(name: str, code: Tensor, count: int | None = None, skip: int = 0, decode: Callable[[Tensor], Tensor] = frames_of) -> None:
        latents[name] = code
        pictures[name] = decode(code)[skip:][: count if count is not None else None]

    keep("generate", sample(shape_of(3), cat, empty, noise=randn(shape_of(3), SEED)))
    keep("generate-unguided", sample(shape_of(3), cat, empty, noise=randn(shape_of(3), SEED), guidance=1.0))
    keep("generate-negative", sample(shape_of(3), cat, beach, noise=randn(shape_of(3), SEED)))
    keep("generate-unipc", sample(shape_of(3), cat, empty, noise=randn(shape_of(3), SEED), scheduler="unipc"))
    keep("generate-stream", stream(shape_of(7), cat, empty))
    keep("generate-joint", sample(shape_of(7), cat, empty, noise=randn(shape_of(7), SEED), windows=[(0, 4), (2, 6), (3, 7)]))

    for name, source, strength in [("restyle", short, 0.6), ("restyle-full", short, 1.0), ("restyle-long", long, 0.6)]:
        code = encode(pad(source))
        keep(name, stream(code.shape, fox, empty, source=code, follow=True, strength=strength), source.shape[0])

    shape = shape_of(4)
    known, mask = torch.zeros(shape), torch.zeros(1, 1, *shape[2:])
    known[:, :, :1], mask[:, :, 0] = encode(first[None]), 1.0
    keep("animate", sample(shape, cat, empty, noise=randn(shape, SEED), known=known, mask=mask))
    known[:, :, 3:], mask[:, :, 3] = still_latents(last, 4)[:, :, -1:], 1.0
    keep("animate-last", sample(shape, cat, empty, noise=randn(shape, SEED), known=known, mask=mask))

    code = encode(pad(long))
    mask = torch.ones(1, 1, *code.shape[2:])
    mask[..., 1:4, 1:3] = 0  # The box 9,10,12,20 touches these blocks of 8 x 8 pixels.
    keep("inpaint", stream(code.shape, fox, empty, source=code, known=code, mask=mask), long.shape[0])

    tail = encode(short[-5:])
    shape = shape_of(2 + 2)
    known, mask = torch.zeros(shape), torch.zeros(1, 1, *shape[2:])
    known[:, :, :2], mask[:, :, :2] = tail, 1.0
    keep("extend", sample(shape, cat, empty, noise=randn(shape, SEED), known=known, mask=mask), skip=5)

    # A morph from a picture through a clip to a prompt: 25 frames, 7 latent frames, so three windows when it is refined.
    count = 7
    texts = [empty, empty, fox]
    places = []
    for frame in range(count):
        place = frame * 2 / (count - 1)
        segment = min(int(place), 1)
        share = place - segment
        places.append(segment + share * share * (3 - 2 * share))
    still = still_latents(first, count)
    moving = encode(pad(short))
    prompted = sample(shape_of(4), fox, empty, noise=randn(shape_of(4), SEED))

    def stands_at(frame: int) -> list[Tensor]:
        second = 1 if frame else 0
        return [still[:, :, [frame]], moving[:, :, [min(3, max(second, frame - 1))]], prompted[:, :, [min(3, max(second, 4 - count + frame))]]]

    path, between = spread_path(stands_at, places)
    keep("morph-plain", path)
    stops = []
    for stop in range(5):
        segment = min(stop // 2, 1)
        amount = stop / 2 - segment
        (a, ma), (b, mb) = texts[segment], texts[segment + 1]
        prompt = (torch.lerp(a, b, amount), ma if amount == 0 else mb if amount == 1 else torch.maximum(ma, mb))
        weights = torch.tensor([max(0.0, 1 - abs(place - stop / 2) * 2) for place in places])
        stops.append((prompt, weights))
    known, mask = torch.zeros_like(path), torch.zeros(1, 1, *path.shape[2:])
    for frame in (0, 3):
        known[:, :, frame], mask[:, :, frame] = path[:, :, frame], 1.0
    made, index, start = None, 0, 0
    for start, end in [(0, 4), (2, 6), (3, 7)]:
        k, m = known[:, :, start:end].clone(), mask[:, :, start:end].clone()
        shared = 0 if made is None else made.shape[2] - start
        if shared:
            k[:, :, :shared], m[:, :, :shared] = made[:, :, start:], 1.0
        here = [(p, w[start:end]) for p, w in stops]
        window = (*path.shape[:2], end - start, *path.shape[3:])
        result = sample(window, here, empty, noise=randn(window, SEED + index), strength=0.6, source=path[:, :, start:end], known=k, mask=m,
                        renewal=between[:, :, start:end])
        made = result if made is None else torch.cat([made, result[:, :, shared:]], 2)
        index += 1
    keep("morph", made)

    # Between two pictures; all windows at every step.
    count = 5
    ends = [still_latents(picture, count) for picture in (first, last)]
    shares = [x * x * (3 - 2 * x) for x in (frame / (count - 1) for frame in range(count))]
    path, between = spread_path(lambda frame: [end[:, :, [frame]] for end in ends], shares)
    known, mask = torch.zeros_like(path), torch.zeros(1, 1, *path.shape[2:])
    for frame in (0, count - 1):
        known[:, :, frame], mask[:, :, frame] = path[:, :, frame], 1.0
    noise, windows = randn(path.shape, SEED), [(0, 4), (1, 5)]
    made = sample(path.shape, empty, empty, noise=noise, strength=0.75, source=path, known=known, mask=mask, windows=windows, renewal=between)
    keep("morph-pictures", made, decode=glided)

    arrays = {f"{name}.latents": code.contiguous() for name, code in latents.items()}
    arrays |= {f"{name}.frames": frames.contiguous() for name, frames in pictures.items()}
    save_file(arrays, GOLDENS / "pipelines.safetensors", {"cases": json.dumps(sorted(latents))})
    for name, frames in pictures.items():
        print(f"{name}: {tuple(frames.shape)}, latents up to {float(latents[name].abs().max()):.2f}")


if __name__ == "__main__":
    main()
