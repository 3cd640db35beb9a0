"""Teaches a bundle's text encoder prompts in other words than captions and the names of new things, for the denoiser that it has.

    python -m reel_tiny.text.widen --bundle reel-tiny --tokenizer TOKENIZER_JSON --data DATA --out CHECKPOINT [--from CHECKPOINT_OR_BUNDLE] [--steps 4000]

The tokenizer extends the bundle's. What the new encoder makes of a prompt is to be to the denoiser what the bundle's makes of
the plain caption that means the same: the same answers of each cross attention to queries that it asks while clips are made,
the same summary, the thing in the same places.

Of a thing that the bundle doesn't know, the denoiser is told what it would be told of the known one that looks most like it.
Which one it is, is for the planner alone, whose list of things grows and learns beside the encoder. How it looks, the denoiser
sees in the planner's picture. All else of the denoiser stays as it is.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..denoiser.network import Attention, Denoiser, padding_bias
from ..denoiser.planner import LATENT_FRAMES, Planner, load_pictures
from ..export.manifest import DEFAULTS, noise_levels
from ..weights import depth, load_denoiser
from ..world.captions import caption, plain_caption
from ..world.prompts import Said, meanings, name_alone, sample_said
from ..world.sampling import sample_spec
from ..world.things import ASSETS, THING_NAMES, THINGS
from .encoder import WIDTH, TextEncoder
from .tokenizer import pieces_of
from .train import load_bundled_encoder, start_from
from .typos import typed

# Queries kept of each attention, and those of a step.
QUERIES, ASKED = 7168, 32
CLIPS = 48
# Prompts of a step that the denoiser is asked about, names that stand alone beside each prompt, and texts read at once.
TOLD, NAMES, AT_ONCE = 32, 4, 64
# How far what is read of a prompt is off, by part, as a share of how far prompts are from their mean.
WEIGHTS = {"words": 1.0, "summary": 1.0, "poses": 0.5, "thing": 0.3, "named": 0.3, "kept": 1.0}
# Share of prompts about things that the bundle doesn't know, where there are any.
NEW = 0.5
# How many letters go wrong in a prompt: none, one, two, three; and in a name that stands alone.
SLIPS, SLIPS_IN_NAMES = (0.45, 0.35, 0.15, 0.05), (0.15, 0.6, 0.25)


def sample(rng: np.random.Generator) -> Said:
    """Prompts of all kinds, captions, plain captions and nothing."""
    kind = rng.random()
    if kind < 0.02:
        return Said("", "")
    if kind < 0.75:
        said = sample_said(rng)
    else:
        spec = sample_spec(rng, held_out=None, styled=0.45)
        plain = plain_caption(spec)
        if kind < 0.85:
            return Said(plain, plain, spec)
        said = Said(caption(spec, rng), plain, spec)
    return replace(said, prompt=typed(said.prompt, SLIPS, rng))


def thing_of(said: Said) -> int:
    """Its place in the planner's list: 0 is nothing."""
    return 0 if said.spec is None or said.spec.thing is None else 1 + THING_NAMES.index(said.spec.thing)


def sample_batch(rng: np.random.Generator, size: int, known: int) -> list[Said]:
    """As `sample` gives them, but for how many are about the things from `known` on."""
    picked: list[Said] = []
    while len(picked) < size:
        wants_new = known < len(THING_NAMES) and rng.random() < NEW
        said = sample(rng)
        while (thing_of(said) > known) != wants_new:
            said = sample(rng)
        picked.append(said)
    return picked


def look_alikes(pictures: Tensor, known: int) -> dict[str, str]:
    """Of each thing from `known` on the one before that looks most like it, by name. `pictures` [1 + things, N], the first of nothing."""
    nearest = torch.cdist(pictures[1 + known :].float(), pictures[1 : 1 + known].float()).argmin(1).tolist()
    return {name: THING_NAMES[index] for name, index in zip(THING_NAMES[known : len(pictures) - 1], nearest, strict=True)}


def told(said: Said, stand_ins: dict[str, str]) -> str:
    """What the denoiser knows of it, as a plain caption."""
    stand_in = None if said.spec is None else stand_ins.get(said.spec.thing)
    return said.plain if stand_in is None else plain_caption(replace(said.spec, thing=stand_in))


@torch.no_grad()
def grow_planner(planner: Planner, pictures: Tensor, stand_ins: dict[str, str]) -> Planner:
    """A planner of all things. Of new ones it thinks what it thinks of those that stand in for them."""
    grown, known = Planner(planner.thing.in_features, len(pictures)), planner.thing.out_features
    rows = [*range(known), *(1 + THING_NAMES.index(name) for name in stand_ins.values())]
    grown.load_state_dict(planner.state_dict() | {"thing.weight": planner.thing.weight[rows], "thing.bias": planner.thing.bias[rows], "pictures": pictures})
    return grown


def encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """ids and mask int64 [B, L], as long as the longest text"""
    encoded = tokenizer.encode_batch(texts)
    mask = torch.tensor([one.attention_mask for one in encoded])
    longest = int(mask.sum(1).max())
    return torch.tensor([one.ids for one in encoded])[:, :longest], mask[:, :longest]


@torch.no_grad()
def begin_words(encoder: TextEncoder, tokenizer: Tokenizer, known: int, stand_ins: dict[str, str]) -> None:
    """Sets each token from `known` on to the mean of the words that it stands for, as far as the lexicon says; the others to nothing.

    Of a new thing those are the words of the known one that stands in for it, of a piece of words all words that have it.
    """

    def read(text: str) -> list[int]:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids[: sum(encoded.attention_mask)]

    tokens, words = encoder.tokens.weight, {}
    named = ((word, thing.name) for thing in THINGS if thing.name in stand_ins for word in thing.words)
    for phrase, plain in (*meanings(), *named):
        meant = tokens[read(stand_ins.get(plain, plain))].mean(0) if plain else torch.zeros_like(tokens[0])
        for word in read(phrase):
            words.setdefault(word, []).append(meant)
    for word in range(known, len(tokens)):
        tokens[word] = torch.stack(words[word]).mean(0) if word in words else 0
    whole, vocabulary = {}, tokenizer.get_vocab()
    for word, index in vocabulary.items():
        for piece in () if word.startswith("##") else pieces_of({word}):
            whole.setdefault(piece, []).append(index)
    for piece, indices in whole.items():
        if vocabulary.get(piece, 0) >= known:
            tokens[vocabulary[piece]] = tokens[indices].mean(0)


def learnt(path: Path) -> tuple[TextEncoder, Planner | None]:
    """What a bundle holds, or a checkpoint: one of `text.train` has no planner."""
    if path.is_dir():
        return load_bundled_encoder(path), load_denoiser(path).planner
    saved = torch.load(path, map_location="cpu", weights_only=True)
    encoder = TextEncoder(len(saved["encoder"]["tokens.weight"]), layers=depth(saved["encoder"], "layers"))
    encoder.load_state_dict(saved["encoder"])
    if "planner" not in saved:
        return encoder, None
    planner = Planner(WIDTH, len(saved["planner"]["thing.bias"]))
    planner.load_state_dict(saved["planner"])
    return encoder, planner


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


def read(encoder: TextEncoder, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """prompt_embeds [B, L, 192]. Texts of like length are read together, as padding takes as long as words."""
    ids, mask = encode(tokenizer, texts)
    order = mask.sum(1).argsort()
    parts = []
    for some in order.split(AT_ONCE):
        length = int(mask[some].sum(1).max())
        parts.append(F.pad(encoder(ids[some, :length], mask[some, :length]), (0, 0, 0, ids.shape[1] - length)))
    return torch.cat(parts)[order.argsort()]


class Reader(nn.Module):
    """What a denoiser takes from a prompt; `planner` takes the place of its own, and names things beside it."""

    def __init__(self, denoiser: Denoiser, queries: list[Tensor], planner: Planner) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(cross_attentions(denoiser))
        self.summary, self.planner = denoiser.text_embedding, planner
        self.queries = queries
        self.requires_grad_(False)

    def forward(self, embeds: Tensor, picked: Tensor) -> dict[str, list[Tensor]]:
        """[B, 32, 192] and the indices of the queries asked -> answers, by part."""
        bias = padding_bias(embeds)
        first = embeds[:, 0]
        asked = ((attention, queries[picked][None]) for attention, queries in zip(self.attentions, self.queries, strict=True))
        return {
            "words": [attention(queries, embeds, bias) for attention, queries in asked],
            "summary": [self.summary(first)],
            "poses": [self.planner.poses(first, torch.arange(LATENT_FRAMES).float().expand(len(embeds), -1))],
        }


def share_off(read: Tensor, wanted: Tensor) -> Tensor:
    """The squared distance over what prompts differ from their mean by."""
    return (read - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()


def distances(read: dict[str, list[Tensor]], wanted: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {part: torch.stack([share_off(a, b) for a, b in zip(read[part], wanted[part], strict=True)]).mean() for part in read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what reel_tiny.data.prepare made: pictures of new things")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="before", type=Path, help="a checkpoint, or a bundle's folder, to go on from")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=11, help="of the prompts; another one to go on with others")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rng, draws = np.random.default_rng(options.seed), torch.Generator().manual_seed(11)
    tokenizer, older_tokenizer = Tokenizer.from_file(str(options.tokenizer)), Tokenizer.from_file(str(options.bundle / "tokenizer/tokenizer.json"))
    older, denoiser = load_bundled_encoder(options.bundle), load_denoiser(options.bundle)
    pictures, known = load_pictures(str(options.data / ASSETS)), denoiser.config.things - 1
    stand_ins = look_alikes(pictures, known)
    planner = grow_planner(denoiser.planner, pictures, stand_ins)
    plain = [told(one, stand_ins) for one in sample_batch(rng, CLIPS, known)]
    reader = Reader(denoiser, gather_queries(denoiser, read(older, older_tokenizer, plain), draws), planner)
    encoder = TextEncoder(tokenizer.get_vocab_size())
    start = older
    if options.before is not None:
        start, things = learnt(options.before)
        if things is not None:
            planner.load_state_dict(things.state_dict())
    start_from(encoder, start)
    begin_words(encoder, tokenizer, start.tokens.num_embeddings, stand_ins)
    learning = [*encoder.parameters(), *planner.thing.requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(learning, lr=options.lr, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.steps, pct_start=0.1)
    begun, seen, right = time.time(), dict.fromkeys(WEIGHTS, 0.0), 0.0
    for step in range(1, options.steps + 1):
        said = sample_batch(rng, options.batch, known)
        alone, meaning = zip(*(name_alone(rng) for _ in range(NAMES * options.batch)), strict=True)
        plain = [told(one, stand_ins) for one in said]
        picked = torch.randint(QUERIES, (ASKED,), generator=draws)
        embeds, names = read(encoder, tokenizer, [*(one.prompt for one in said), *(typed(name, SLIPS_IN_NAMES, rng) for name in alone)]).tensor_split([len(said)])
        with torch.no_grad():
            meant = read(older, older_tokenizer, plain[:TOLD])
            wanted = reader(meant, picked)
        parts = distances(reader(embeds[:TOLD], picked), wanted)
        named, things = planner.thing(embeds[:, 0]), torch.tensor([thing_of(one) for one in said])
        parts["thing"] = F.cross_entropy(named, things)
        parts["named"] = F.cross_entropy(planner.thing(names[:, 0]), torch.tensor([1 + THING_NAMES.index(thing) for thing in meaning]))
        same = torch.tensor([one.prompt == known_as for one, known_as in zip(said[:TOLD], plain[:TOLD], strict=True)])
        length = min(embeds.shape[1], meant.shape[1])
        kept = (embeds[:TOLD][same, :length] - meant[same, :length]).square()
        parts["kept"] = kept.sum() / max(1, kept.numel())
        loss = sum(WEIGHTS[name] * part for name, part in parts.items())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        seen = {name: seen[name] + parts[name].item() for name in seen}
        right += (named.argmax(1) == things).float().mean().item()
        if step % 100 == 0:
            report = " ".join(f"{name} {value / 100:.4f}" for name, value in seen.items())
            print(f"step {step} {report}, things right {right / 100:.3f}, {time.time() - begun:.0f} s", flush=True)
            seen, right = dict.fromkeys(WEIGHTS, 0.0), 0.0
            torch.save({"encoder": encoder.state_dict(), "planner": planner.state_dict()}, options.out)


if __name__ == "__main__":
    main()
