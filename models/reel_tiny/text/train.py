"""Trains the text encoder to read captions: from [CLS] alone, linear heads must name what the caption says.

The denoiser then starts from embeddings that already mean something, and never has to train the encoder.

    python -m reel_tiny.text.train --tokenizer TOKENIZER_JSON --out CHECKPOINT [--steps 1200] [--start BUNDLE]

With --start, training begins at the encoder of a bundle whose tokenizer the present one extends, and keeps what that one
makes of captions in its own words, so that a denoiser trained on it can go on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from export.layout import read_weights
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..world.captions import caption, plain_caption, restyle_caption
from ..world.motions import MOTION_NAMES
from ..world.sampling import sample_spec
from ..world.scenes import SCENE_NAMES
from ..world.styles import STYLE_NAMES
from ..world.things import THING_NAMES
from .encoder import TextEncoder
from .typos import misspell

ASPECTS: dict[str, tuple[str, ...]] = {
    "thing": ("nothing", *THING_NAMES),
    "scene": ("nowhere", *SCENE_NAMES),
    "motion": MOTION_NAMES,
    "style": STYLE_NAMES,
}
KEEP_WEIGHT = 3.0


def sample_text(rng: np.random.Generator) -> tuple[str, str, tuple[int, ...]]:
    """A caption, the same in the plainest words, and the index of what it says in each aspect."""
    if rng.random() < 0.03:
        return "", "", (0, 0, 0, 0)
    spec = sample_spec(rng, held_out=None, styled=0.4)
    style = STYLE_NAMES.index(spec.style)
    if spec.style != "none" and rng.random() < 0.25:
        return restyle_caption(None, spec.style, rng), "", (0, 0, 0, style)
    thing = 0 if spec.thing is None else 1 + THING_NAMES.index(spec.thing)
    label = (thing, 1 + SCENE_NAMES.index(spec.scene), MOTION_NAMES.index(spec.motion), style)
    text = caption(spec, rng)
    return (misspell(text, rng) if rng.random() < 0.15 else text), plain_caption(spec), label


def batch(tokenizer: Tokenizer, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ids and mask int64 [size, L], labels int64 [size, 4], the newest token that each caption or its plain form needs [size]."""
    texts, plain, labels = zip(*(sample_text(rng) for _ in range(size)), strict=True)
    encoded = tokenizer.encode_batch(list(texts))
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    newest = torch.maximum(ids.amax(1), torch.tensor([max(one.ids) for one in tokenizer.encode_batch(list(plain))]))
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest], torch.tensor(labels), newest


def load_bundled_encoder(bundle: Path) -> TextEncoder:
    """The encoder of a bundle's graph, whose initialisers have their parameters' names."""
    stored = read_weights(bundle / "text_encoder/model.onnx")
    vocabulary = json.loads((bundle / "tokenizer/tokenizer.json").read_text())["model"]["vocab"]
    encoder = TextEncoder(len(vocabulary), layers=len({name.split(".")[1] for name in stored if name.startswith("layers.")}))
    encoder.load_state_dict({name: torch.from_numpy(stored[name].astype(np.float32)) for name in encoder.state_dict()})
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def start_from(encoder: TextEncoder, older: TextEncoder) -> None:
    """Takes over all weights; tokens that `older` lacks keep theirs, and layers that it lacks start as nothing."""
    state = older.state_dict()
    tokens = encoder.tokens.weight.clone()
    tokens[: len(state["tokens.weight"])] = state["tokens.weight"]
    encoder.load_state_dict(encoder.state_dict() | state | {"tokens.weight": tokens})
    for layer in encoder.layers[len(older.layers) :]:
        for parameter in (*layer.out.parameters(), *layer.down.parameters()):
            parameter.zero_()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--start", type=Path, help="a bundle's folder")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(1)
    tokenizer = Tokenizer.from_file(options.tokenizer)
    encoder = TextEncoder(tokenizer.get_vocab_size())
    older = None if options.start is None else load_bundled_encoder(options.start)
    if older is not None:
        start_from(encoder, older)
    heads = nn.ModuleList(nn.Linear(encoder.norm.normalized_shape[0], len(names)) for names in ASPECTS.values())
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps, pct_start=0.1)
    start = time.time()
    for step in range(1, options.steps + 1):
        ids, mask, labels, newest = batch(tokenizer, rng, 128)
        embeds = encoder(ids, mask)
        loss = sum(F.cross_entropy(head(embeds[:, 0]), labels[:, i]) for i, head in enumerate(heads))
        changed = torch.zeros(())
        if older is not None:
            # A caption that was known already is to be read as before.
            known = newest < older.tokens.num_embeddings
            changed = (embeds[known] - older(ids[known], mask[known])).square().mean()
            loss = loss + KEEP_WEIGHT * changed
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f} changed {changed.item():.4f} {time.time() - start:.0f} s", flush=True)
    with torch.no_grad():
        ids, mask, labels, _ = batch(tokenizer, np.random.default_rng(2), 2000)
        summary = encoder(ids, mask)[:, 0]
        for i, (name, head) in enumerate(zip(ASPECTS, heads, strict=True)):
            print(f"{name}: {(head(summary).argmax(1) == labels[:, i]).float().mean().item():.4f} right of 2000 new captions")
    torch.save({"encoder": encoder.state_dict(), "heads": heads.state_dict()}, options.out)


if __name__ == "__main__":
    main()
