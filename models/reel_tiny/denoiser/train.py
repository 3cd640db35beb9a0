"""Trains the denoiser on cached latents; resumes from its checkpoint.

    python -m reel_tiny.denoiser.train --cache CACHE --bundle reel-tiny --planner PLANNER --out DIR
        --picture-minutes 28 --clip-minutes 27

The tokenizer and the text encoder are the bundle's, and the VAE where --vae names no other; with --from the denoiser begins at
the weights of a bundle or a checkpoint. On a GPU (--device cuda --workers 1) --ahead processes draw samples before they are needed.

On CPUs two workers with one thread each share the weights in memory: each makes gradients on its own samples, then each updates its
half of the parameters with the mean of both. On a busy machine that waits less than threads that meet in every operation.

First single latent frames, at a seventh of a clip's cost, teach what things, scenes and styles look like; then clips teach
the temporal layers motion. The learning rate follows the time spent, so that a slower machine ends on a finished model too.
"""

from __future__ import annotations

import argparse
import math
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
import torch._inductor.config as inductor
from tokenizers import Tokenizer
from torch import Tensor

from ..precision import autocast, training_device
from ..text.encoder import TextEncoder
from ..text.train import load_bundled_encoder
from ..vae.muon import Muon
from ..weights import grow_denoiser, load_vae
from ..workers import feed
from ..world.styles import STYLE_NAMES
from .network import Config, Denoiser
from .tasks import FREE, Batch, Tasks

SAVE_SECONDS = 120
LOSSES_READ = 20
# Steps in which the learning rates rise.
WARM_UP = 30
# Weight of the error's change from one latent frame to the next. At 0 each frame is right on its own, and what should rest flickers.
STEADY = 1.0
# Where the target rests, that weighs 1 + STILL: small steps are seen there, and the VAE adds none of its own. RESTING is the mean squared
# step of a latent at which half of it is left.
STILL = 6.0
RESTING = 0.03
# Weight of the squared error in where the thing is, in fractions of the frame.
PLACED = 30.0
Denoise = Callable[..., tuple[Tensor, Tensor]]


class Guide:
    """What a network that learns no more predicts with classifier-free guidance, for another to predict in one pass (Meng et al. 2022, arXiv:2210.03142).

    What is not taught is guided too: away from what that network predicts untold, towards the truth. On average that is what guidance of a network which learnt
    such truths would predict, so that one which has learnt guidance can learn further things. `nothing` [1, 32, 192]: the empty prompt. `whole`: it is asked
    about all of a batch, as a compiled network works on batches of one size.
    """

    def __init__(self, denoise: Denoise, scale: float, nothing: Tensor, whole: bool = False) -> None:
        self.denoise, self.scale, self.nothing, self.whole = denoise, scale, nothing, whole

    @torch.no_grad()
    def __call__(self, noisy: Tensor, timestep: Tensor, text: Tensor, batch: Batch, truth: Tensor) -> Tensor:
        """What to predict [B, 16, t, h, w]; `truth`, what would be predicted of each sample by a network that knew it."""
        inputs = (noisy, timestep, batch.condition, batch.mask, batch.first_frame)
        aim = self._predicted(batch.taught, text, inputs, truth)
        if self.scale == 1:
            return aim
        untold = self._predicted(batch.guided, self.nothing.expand(text.shape), inputs, aim)
        return torch.lerp(untold, aim, self.scale)

    def _predicted(self, which: Tensor, text: Tensor, inputs: tuple[Tensor, ...], others: Tensor) -> Tensor:
        """The network's predictions of the samples `which` [B], and `others` of the rest."""
        if not which.any():
            return others
        asked = torch.full_like(which, True) if self.whole else which
        noisy, timestep, words, *rest, first = (x[asked].contiguous() for x in (*inputs[:2], text, *inputs[2:]))
        made = others.clone()
        made[asked] = self.denoise(noisy, timestep, words, *rest, first_frame=first)[0].float()
        return torch.where(which[:, None, None, None, None], made, others)


@torch.no_grad()
def channel_gains(vae: Path, latents: np.ndarray, device: torch.device) -> Tensor:
    """How much each latent channel [16] shows: the decoder's root mean square answer to a small error in it, 1 on average.

    In reel-tiny the first channel alone (brightness) is 63 % of what an equal error in all of them would show.
    `latents` [N, 16, t, h, w] to measure around.
    """
    decode, generator = load_vae(vae).to(device).decode, torch.Generator(device).manual_seed(0)
    codes = torch.from_numpy(latents.astype(np.float32)).to(device)
    shown, squares = decode(codes), []
    for channel in range(codes.shape[1]):
        changed = codes.clone()
        changed[:, channel] += 0.1 * torch.randn(changed[:, channel].shape, generator=generator, device=device)
        squares.append((decode(changed) - shown).square().mean())
    gains = torch.stack(squares).sqrt()
    return gains / gains.mean()


def flow_loss(
    denoise: Denoise, batch: Batch, text: Tensor, gains: Tensor, generator: torch.Generator, guide: Guide | None = None, exact: bool = False
) -> Tensor:
    """Mean squared error in the network's own unit-variance target, and of its steps in time, most of all where the target has none; what is kept counts a tenth.

    `text` [B, 32, 192]: the batch's words. `gains` [16]: an error counts by what it shows in pixels, a step between frames by the square of it, as flicker is seen
    in flat areas first. Where the thing was found to be counts too. With a `guide` what it says is aimed at, but no step in time where the target has none.
    `exact`: in float32 throughout.
    """
    size, device = len(batch.target), batch.target.device
    sigma = torch.sigmoid(torch.randn(size, generator=generator, device=device) * 1.1 + 0.3).clamp(0.002, 0.998)
    noise = torch.randn(batch.target.shape, generator=generator, device=device)
    wide = sigma[:, None, None, None, None]
    noisy = (1 - wide) * batch.target + wide * noise
    truth = noise - batch.target
    with autocast(device, exact):
        aim = truth if guide is None else guide(noisy, 1000 * sigma, text, batch, truth)
        prediction, poses = denoise(noisy, 1000 * sigma, text, batch.condition, batch.mask, first_frame=batch.first_frame)
    # Divided by the scale 1/s with which the network's output enters its prediction.
    scale = (wide.square() + (1 - wide).square()).sqrt()
    weight = 1 - 0.9 * batch.mask[:, :1]
    seen = gains[:, None, None, None]
    loss = weighted_mean(seen * (scale * (prediction - aim)).square(), weight)
    if aim.shape[2] > 1:
        rest = RESTING / (batch.target.diff(dim=2).square().mean(1, keepdim=True) + RESTING)
        off = scale * (prediction.diff(dim=2) - torch.lerp(aim.diff(dim=2), truth.diff(dim=2), rest))
        flicker = seen.square() / seen.square().mean() * off.square() * (1 + STILL * rest)
        loss = loss + STEADY * weighted_mean(flicker, torch.minimum(weight[:, :, 1:], weight[:, :, :-1]))
    misplaced = (poses.float() - batch.poses).square().mean((1, 2, 3)) * batch.posed
    return loss + PLACED * misplaced.sum() / batch.posed.sum().clamp(min=1)


def check_compiled(model: Denoiser, denoise: Denoise, batch: Batch, text: Tensor, gains: Tensor) -> None:
    """Throws RuntimeError where the compiled network passes other gradients on than the network does: compilers have bugs.

    Gradients that nearly cancel out are mostly rounding in 16 bits. So both are held against those of float32, and the compiled ones may be off
    by as much again as the others are.
    """

    def gradients(run: Denoise, exact: bool) -> dict[str, Tensor]:
        flow_loss(run, batch, text, gains, torch.Generator(gains.device).manual_seed(0), exact=exact).backward()
        found = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
        model.zero_grad()
        return found

    wanted, rounded, compiled = gradients(model.denoise, True), gradients(model.denoise, False), gradients(denoise, False)
    least = 0.001 * max(one.norm() for one in wanted.values())
    for name, one in wanted.items():
        usual, off = ((other[name] - one).norm() / (one.norm() + least) for other in (rounded, compiled))
        if off > 0.2 + 2 * usual:
            raise RuntimeError(
                f"Expected the gradient of {name} to be the same when compiled, got one {off:.0%} off where {usual:.0%} is usual. Train without --compile."
            )


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of [B, C, t, h, w] with weights [B, 1, t, h, w]."""
    return (values * weight).sum() / (weight.sum() * values.shape[1])


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon takes it: convolutions between hidden layers. For the rest its matrix products cost more than they give."""
    return parameter.ndim == 4 and not name.startswith(("stem", "out."))


def share_out(model: Denoiser, workers: int) -> list[list[str]]:
    """Names of the parameters that learn for each worker to update, balanced by the cost of Muon's matrix products."""
    owned: list[list[str]] = [[] for _ in range(workers)]
    loads = [0.0] * workers
    costs = {name: p.numel() * (min(p.shape[0], p[0].numel()) if is_hidden_matrix(name, p) else 1.0) for name, p in model.named_parameters() if p.requires_grad}
    for name in sorted(costs, key=lambda name: -costs[name]):
        least = loads.index(min(loads))
        owned[least].append(name)
        loads[least] += costs[name]
    return owned


def rate_at(done: float, decay_from: float, floor: float) -> float:
    """Factor on the learning rates after the share `done` of the time: flat, then down along a half cosine."""
    if done < decay_from:
        return 1.0
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - decay_from) / (1 - decay_from))))


class Shared:
    """What the workers hold in common: weights, their moving average, gradients, and the progress so far."""

    def __init__(self, workers: int, checkpoint: Path, model: Denoiser, device: torch.device) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.progress = torch.zeros(4, dtype=torch.float64)  # seconds, steps, pictures, clips
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
            self.model.load_state_dict(saved["model"])
            for name, value in saved["ema"].items():
                self.average[name].copy_(value)
            self.progress.copy_(torch.tensor(saved["progress"], dtype=torch.float64))
        self.saves = torch.zeros(())  # whether all save after the step that is being made
        self.barrier = multiprocessing.get_context("fork").Barrier(workers)
        # One worker alone has nothing to exchange.
        exchanged = workers if workers > 1 else 0
        self.gradients = [{name: torch.zeros_like(p) for name, p in self.model.named_parameters() if p.requires_grad} for _ in range(exchanged)]
        self.model.share_memory()
        for tensor in (self.progress, self.saves, *self.average.values(), *(g for one in self.gradients for g in one.values())):
            tensor.share_memory_()

    def save(self, path: Path) -> None:
        saved = {"config": self.model.config.as_dict(), "model": self.model.state_dict(), "ema": self.average}
        torch.save(saved | {"progress": self.progress.tolist()}, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)


class Updater:
    """One worker's share of the parameters, with its optimisers."""

    def __init__(self, shared: Shared, worker: int, options: argparse.Namespace) -> None:
        self.shared, self.worker, self.options = shared, worker, options
        self.owned = share_out(shared.model, options.workers)[worker]
        parameters = dict(shared.model.named_parameters())
        hidden = [parameters[name] for name in self.owned if is_hidden_matrix(name, parameters[name]) and options.muon > 0]
        rest = [parameters[name] for name in self.owned if options.muon == 0 or not is_hidden_matrix(name, parameters[name])]
        self.parameters = parameters
        self.muon = Muon(hidden, options.muon, weight_decay=0.01) if hidden else None
        self.adam = torch.optim.AdamW(rest, lr=options.adam, betas=(0.9, 0.98), weight_decay=0.0)
        self.path = options.out / f"optimizer-{worker}.pt"
        if self.path.exists():
            adam, muon = torch.load(self.path, map_location="cpu", weights_only=True)
            self.adam.load_state_dict(adam)
            if self.muon is not None:
                self.muon.load_state_dict(muon)

    def save(self) -> None:
        muon = None if self.muon is None else self.muon.state_dict()
        torch.save((self.adam.state_dict(), muon), self.path.with_suffix(".partial"))
        self.path.with_suffix(".partial").replace(self.path)

    def exchange(self) -> None:
        """Averages the workers' gradients of the owned parameters."""
        for name, gradient in self.shared.gradients[self.worker].items():
            p = self.parameters[name]
            if p.grad is None:
                gradient.zero_()
            else:
                gradient.copy_(p.grad)
            p.grad = None
        self.shared.barrier.wait()
        for name in self.owned:
            self.parameters[name].grad = torch.stack([one[name] for one in self.shared.gradients]).mean(0)

    @torch.no_grad()
    def update(self, factor: float, step: int) -> None:
        """Takes a step with the mean of the workers' gradients."""
        if self.shared.gradients:
            self.exchange()
        owned = [self.parameters[name] for name in self.owned]
        torch.nn.utils.clip_grad_norm_(owned, 1.0)
        rates = [(self.adam, self.options.adam)] + ([] if self.muon is None else [(self.muon, self.options.muon)])
        for optimizer, rate in rates:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
        decay = min(self.options.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_([self.shared.average[name] for name in self.owned], owned, 1 - decay)
        for p in owned:
            p.grad = None
        self.shared.barrier.wait()


class Feeds:
    """Pictures and clips to learn from, on the device, with their words read."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        tokenizer = Tokenizer.from_file(str(options.bundle / "tokenizer/tokenizer.json"))
        self.device = torch.device(options.device)
        self.encoder: TextEncoder = load_bundled_encoder(options.bundle).to(self.device)
        empty = tokenizer.encode("")
        with torch.no_grad():
            self.nothing = self.encoder(*(torch.tensor([ids], device=self.device) for ids in (empty.ids, empty.attention_mask)))

        def start(size: int, clips: bool) -> Callable[[int], Callable[[], Batch]]:
            def with_seed(seed: int) -> Callable[[], Batch]:
                tasks = Tasks(options.cache, tokenizer, seed, options.afresh, options.restyled)
                return lambda: tasks.batch(size, clips)

            return with_seed

        # Pictures are a fifth of the steps and quicker drawn.
        self.pictures = feed(start(options.picture_batch, False), seed, math.ceil(options.ahead / 4))
        self.clips = feed(start(options.clip_batch, True), seed + 100, options.ahead)

    @torch.no_grad()
    def next(self, moving: bool) -> tuple[Batch, Tensor]:
        """A batch and its words [B, 32, 192]."""
        batch = next(self.clips if moving else self.pictures).on(self.device)
        return batch, self.encoder(batch.tokens, batch.attention)


def work(worker: int, shared: Shared, *arguments: object) -> None:
    """One worker's training. Where one fails, those that wait for it fail too."""
    try:
        take_steps(worker, shared, *arguments)
    except BaseException:
        shared.barrier.abort()
        raise


def watch(processes: list[multiprocessing.Process], shared: Shared) -> None:
    """Has those that wait fail when a worker is killed, which it can't tell itself."""
    left = {process.sentinel: process for process in processes}
    while left:
        for sentinel in wait(list(left)):
            process = left.pop(sentinel)
            process.join()
            if process.exitcode != 0:
                shared.barrier.abort()


def take_steps(worker: int, shared: Shared, gains: Tensor, options: argparse.Namespace, teacher: Denoiser | None) -> None:
    torch.set_num_threads(1)
    out, workers = options.out, options.workers
    seed = options.seed + 1000 * worker + 7 * int(shared.progress[1])
    feeds = Feeds(options, seed)
    generator = torch.Generator(feeds.device).manual_seed(seed)
    updater = Updater(shared, worker, options)
    # Fused further, PyTorch 2.13 writes C++ for single frames that declares a name twice.
    inductor.cpp.max_horizontal_fusion_size = 1
    compiled = partial(torch.compile, dynamic=False) if options.compile else lambda denoise: denoise
    denoise = compiled(shared.model.denoise)
    guide = teacher and Guide(compiled(teacher.denoise), options.guide, feeds.nothing, whole=options.compile)
    unchecked = {False, True} if options.compile else set()
    picture_seconds, total = 60 * options.picture_minutes, 60 * (options.picture_minutes + options.clip_minutes)
    losses: list[Tensor] = []
    logged = saved = begun = time.time()
    seen_before = 0.0
    while True:
        seconds, step, pictures, clips = shared.progress.tolist()
        saves = bool(shared.saves)
        shared.barrier.wait()
        if seconds >= total or step >= options.steps:
            break
        moving = seconds >= picture_seconds and step % 5 != 0
        batch, text = feeds.next(moving)
        if moving in unchecked:
            check_compiled(shared.model, denoise, batch, text, gains)
            unchecked.remove(moving)
        loss = flow_loss(denoise, batch, text, gains, generator, guide)
        loss.backward()
        updater.update(rate_at(seconds / total, options.decay_from, 0.02) * min(1.0, (step + 1) / WARM_UP), int(step))
        if moving or seconds < picture_seconds:
            losses.append(loss.detach())
        # Reading a loss waits for the device, so it is not done at each step.
        due_log = len(losses) >= LOSSES_READ
        mean = torch.stack(losses).mean().item() if due_log else 0.0
        if not math.isfinite(mean):
            raise RuntimeError(f"Expected a finite loss, got {mean}. Resume from the last checkpoint with lower rates.")
        if due_log:
            losses = []
        now = time.time()
        size = len(batch.target) * workers
        if worker == 0:
            shared.progress.copy_(torch.tensor([seconds + now - begun, step + 1, pictures + size * (not moving), clips + size * moving]))
            saved = now if saves else saved
            shared.saves.fill_(now - saved > SAVE_SECONDS)
            if due_log:
                seen = pictures + clips
                print(f"{seconds:.0f} s step {step:.0f} pictures {pictures:.0f} clips {clips:.0f} loss {mean:.4f} {(seen - seen_before) / (now - logged):.0f}/s", flush=True)
                logged, seen_before = now, seen
        begun = now
        shared.barrier.wait()
        if saves:
            # Nobody takes the next step before all have got here again.
            updater.save()
            if worker == 0:
                shared.save(out / "checkpoint.pt")
    updater.save()
    if worker == 0:
        shared.save(out / "checkpoint.pt")


def std_ratio(start: Path, vae: Path | None) -> Tensor | None:
    """What latents of that VAE have been divided by, over what those of the bundle to begin at have been; None of a checkpoint, which is taken to know them."""
    if vae is None or not start.is_dir():
        return None
    return load_vae(vae).encoder.latent_std / load_vae(start).encoder.latent_std


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cache", "bundle", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--planner", type=Path, help="needed without --from, whose own is kept where none is named")
    parser.add_argument("--vae", type=Path, help="a checkpoint")
    parser.add_argument("--from", dest="start", type=Path, help="a bundle or a checkpoint to begin at; of a bundle the latents' deviations are minded, if --vae has others")
    parser.add_argument("--teacher", type=Path, help="learn to make in one pass what this bundle or checkpoint makes with --guide; with 1, to go on making what it makes")
    parser.add_argument("--guide", type=float, default=2.0, help="the guidance of --teacher, and of what --afresh names")
    parser.add_argument("--afresh", nargs="*", choices=STYLE_NAMES, default=(), help="styles to learn from the cache, as --teacher makes them otherwise or not well")
    parser.add_argument("--restyled", type=float, default=0.43, help=f"share of single frames that are restyles, {FREE} at most")
    parser.add_argument("--picture-minutes", type=float, default=28)
    parser.add_argument("--clip-minutes", type=float, default=27)
    parser.add_argument("--picture-batch", type=int, default=32, help="a worker")
    parser.add_argument("--clip-batch", type=int, default=6, help="a worker")
    parser.add_argument("--muon", type=float, default=1e-3, help="0: AdamW for everything")
    parser.add_argument("--adam", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--decay-from", type=float, default=0.6, help="share of the time after which the rate falls")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ahead", type=int, default=0, help="processes that draw samples before they are needed")
    parser.add_argument("--steps", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not 0 <= options.restyled <= FREE:
        parser.error(f"Expected --restyled from 0 to {FREE}, got {options.restyled}.")
    if options.planner is None and options.start is None:
        parser.error("Expected --planner or --from, got neither. Train a planner first, or begin at a bundle.")
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # before forking: OpenMP's threads don't survive a fork
    os.makedirs(options.out, exist_ok=True)
    model, teacher = (path and grow_denoiser(path, std_ratio(path, options.vae)) for path in (options.start, options.teacher))
    model = model or Denoiser(Config())
    if options.planner is not None:
        model.planner.load_state_dict(torch.load(options.planner, map_location="cpu", weights_only=True))
    device = training_device(options.device)
    teacher = teacher and teacher.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    shared = Shared(options.workers, options.out / "checkpoint.pt", model, device)
    latents = np.load(options.cache / "world/latents.npy", mmap_mode="r")
    gains = channel_gains(options.vae or options.bundle, latents[:: max(1, len(latents) // 4)], device)
    print("channel gains: " + " ".join(f"{gain:.2f}" for gain in gains), flush=True)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(worker, shared, gains, options, teacher)) for worker in range(1, options.workers)]
    for process in processes:
        process.start()
    threading.Thread(target=watch, args=(processes, shared), daemon=True).start()
    work(0, shared, gains, options, teacher)
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"Expected every worker to end well, got exit code {process.exitcode}. Look at its message above.")


if __name__ == "__main__":
    main()
