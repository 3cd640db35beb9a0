"""Teaches a bundle's text encoder prompts in other words than captions, for the denoiser that it has.

    python -m reel_tiny.text.widen --bundle reel-tiny --tokenizer TOKENIZER_JSON --out CHECKPOINT [--from CHECKPOINT] [--steps 4000]

The tokenizer extends the bundle's. What the new encoder makes of a prompt is to be to the denoiser what the bundle's makes of
the plain caption that means the same: the same answers of each cross attention to queries that it asks while clips are made,
the same summary, the same thing in the same places. The denoiser stays as it is.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..denoiser.network import Attention, Denoiser, padding_bias
from ..denoiser.planner import LATENT_FRAMES
from ..export.manifest import DEFAULTS, noise_levels
from ..weights import load_denoiser
from ..world.captions import caption, plain_caption
from ..world.prompts import Said, meanings, sample_said
from ..world.sampling import sample_spec
from .encoder import TextEncoder
from .train import load_bundled_encoder, start_from
from .typos import misspell, mistype

# Queries kept of each attention, and those of a step.
QUERIES, ASKED = 7168, 32
CLIPS = 48
# How far what is read of a prompt is off, by part, as a share of how far prompts are from their mean.
WEIGHTS = {"words": 1.0, "summary": 1.0, "poses": 0.5, "thing": 0.3, "kept": 1.0}
# How many letters go wrong in a prompt: none, one, two, three.
SLIPS = (0.45, 0.35, 0.15, 0.05)


def sample(rng: np.random.Generator) -> Said:
    """Prompts of all kinds, captions, plain captions and nothing."""
    kind = rng.random()
    if kind < 0.02:
        return Said("", "")
    if kind < 0.65:
        said = sample_said(rng)
    else:
        spec = sample_spec(rng, held_out=None, styled=0.45)
        plain = plain_caption(spec)
        if kind < 0.75:
            return Said(plain, plain)
        said = Said(caption(spec, rng), plain)
    text = said.prompt
    for _ in range(int(rng.choice(len(SLIPS), p=SLIPS))):
        text = (mistype if rng.random() < 0.25 else misspell)(text, rng)
    return Said(text, said.plain)


def encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """ids and mask int64 [B, L], as long as the longest text"""
    encoded = tokenizer.encode_batch(texts)
    mask = torch.tensor([one.attention_mask for one in encoded])
    longest = int(mask.sum(1).max())
    return torch.tensor([one.ids for one in encoded])[:, :longest], mask[:, :longest]


@torch.no_grad()
def begin_words(encoder: TextEncoder, tokenizer: Tokenizer, known: int) -> None:
    """Sets each token from `known` on to the mean of the words that it stands for, as far as the lexicon says; the others to nothing."""

    def read(text: str) -> list[int]:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids[: sum(encoded.attention_mask)]

    tokens, words = encoder.tokens.weight, {}
    for phrase, plain in meanings():
        meant = tokens[read(plain)].mean(0) if plain else torch.zeros_like(tokens[0])
        for word in read(phrase):
            words.setdefault(word, []).append(meant)
    for word in range(known, len(tokens)):
        tokens[word] = torch.stack(words[word]).mean(0) if word in words else 0


def cross_attentions(denoiser: Denoiser) -> list[Attention]:
    return [layer.words for layer in (*denoiser.coarse_attention, denoiser.middle_attention)]


@torch.no_grad()
def gather_queries(denoiser: Denoiser, embeds: Tensor, rng: torch.Generator) -> list[Tensor]:
    """What each cross attention asks with, [QUERIES, C], while clips are made of prompts `embeds` [B, 32, 192]."""
    found: list[list[Tensor]] = [[] for _ in cross_attentions(denoiser)]
    hooks = [
        attention.register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0].flatten(0, 1)))
        for attention, kept in zip(cross_attentions(denoiser), found, strict=True)
    ]
    levels = noise_levels()
    for some in embeds.split(8):
        shape = (len(some), denoiser.config.latent_channels, LATENT_FRAMES, DEFAULTS["height"] // 8, DEFAULTS["width"] // 8)
        x, nothing = torch.randn(shape, generator=rng), torch.zeros(shape)
        for level, after in pairwise(levels):
            x = x + (after - level) * denoiser(x, torch.full((len(some),), 1000 * level), some, nothing, nothing[:, :2])
    for hook in hooks:
        hook.remove()
    asked = [torch.cat(kept) for kept in found]
    return [queries[torch.randperm(len(queries), generator=rng)[:QUERIES]] for queries in asked]


class Reader(nn.Module):
    """What a denoiser takes from a prompt."""

    def __init__(self, denoiser: Denoiser, queries: list[Tensor]) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(cross_attentions(denoiser))
        self.summary, self.planner = denoiser.text_embedding, denoiser.planner
        self.queries = queries
        self.requires_grad_(False)

    def forward(self, embeds: Tensor, picked: Tensor) -> dict[str, list[Tensor]]:
        """[B, 32, 192] and the indices of the queries asked -> answers, by part."""
        bias = padding_bias(embeds)
        first = embeds[:, 0]
        asked = ((attention, queries[picked].expand(len(embeds), -1, -1)) for attention, queries in zip(self.attentions, self.queries, strict=True))
        return {
            "words": [attention(queries, embeds, bias) for attention, queries in asked],
            "summary": [self.summary(first)],
            "poses": [self.planner.poses(first, torch.arange(LATENT_FRAMES).float().expand(len(embeds), -1))],
            "thing": [self.planner.thing(first)],
        }


def share_off(read: Tensor, wanted: Tensor) -> Tensor:
    """The squared distance over what prompts differ from their mean by."""
    return (read - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()


def distances(read: dict[str, list[Tensor]], wanted: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    found = {part: torch.stack([share_off(a, b) for a, b in zip(read[part], wanted[part], strict=True)]).mean() for part in ("words", "summary", "poses")}
    return found | {"thing": F.cross_entropy(read["thing"][0], wanted["thing"][0].softmax(1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="before", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rng, draws = np.random.default_rng(11), torch.Generator().manual_seed(11)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    older, denoiser = load_bundled_encoder(options.bundle), load_denoiser(options.bundle)
    plain = [plain_caption(sample_spec(rng, held_out=None, styled=0.4)) for _ in range(CLIPS)]
    reader = Reader(denoiser, gather_queries(denoiser, older(*encode(tokenizer, plain)), draws))
    encoder = TextEncoder(tokenizer.get_vocab_size())
    if options.before is None:
        start_from(encoder, older)
        begin_words(encoder, tokenizer, older.tokens.num_embeddings)
    else:
        encoder.load_state_dict(torch.load(options.before, map_location="cpu", weights_only=True)["encoder"])
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=options.lr, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.steps, pct_start=0.1)
    start, seen = time.time(), dict.fromkeys(WEIGHTS, 0.0)
    for step in range(1, options.steps + 1):
        said = [sample(rng) for _ in range(options.batch)]
        ids, mask = encode(tokenizer, [one.prompt for one in said])
        picked = torch.randint(QUERIES, (ASKED,), generator=draws)
        embeds = encoder(ids, mask)
        with torch.no_grad():
            meant = older(*encode(tokenizer, [one.plain for one in said]))
            wanted = reader(meant, picked)
        parts = distances(reader(embeds, picked), wanted)
        same = torch.tensor([one.prompt == one.plain for one in said])
        length = min(embeds.shape[1], meant.shape[1])
        parts["kept"] = (embeds[same, :length] - meant[same, :length]).square().mean()
        loss = sum(WEIGHTS[name] * part for name, part in parts.items())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seen = {name: seen[name] + parts[name].item() for name in seen}
        if step % 100 == 0:
            told = " ".join(f"{name} {value / 100:.4f}" for name, value in seen.items())
            print(f"step {step} {told} {time.time() - start:.0f} s", flush=True)
            seen = dict.fromkeys(WEIGHTS, 0.0)
            torch.save({"encoder": encoder.state_dict()}, options.out)


if __name__ == "__main__":
    main()
