"""Writes test/fixtures/tiny-bundle and the golden arrays beside it. Run from the repository root:

    PYTHONPATH=models:models/goldens python -m tiny_bundle.make
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_bundle.modules import EMBED_WIDTH, MASK_CHANNELS, MAX_TOKENS, TinyDenoiser, TinyTextEncoder, tiny_vae
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from export.graph import Graph, write_graph
from reel_tiny.vae.export import describe_states, half_graph
from reel_tiny.vae.model import LATENT_CHANNELS, SPATIAL, TEMPORAL
from torch import Tensor, nn

FIXTURES = Path("test/fixtures")
BUNDLE = FIXTURES / "tiny-bundle"

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = (
    "a an the and in on of with moving jumping left right up down red green blue yellow cat dog cake rocket chicken cup hand house "
    "tree boat beach street city forest sky snow night sea picture sketch pencil painting cartoon style".split()
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
VOCABULARY = {piece: i for i, piece in enumerate([*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS), *(w for w in WORDS if len(w) > 1), "##ing", "##s"])}


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, VOCABULARY[t]) for t in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def fit_preview(vae, clip: Tensor) -> dict:
    """Least squares from latents to the mean colour under each latent position."""
    latents = vae.encode(clip)[0, :, 1:]
    colours = clip[0, :, 1:].unflatten(1, (-1, TEMPORAL)).unflatten(3, (-1, SPATIAL)).unflatten(5, (-1, SPATIAL)).mean((2, 4, 6))
    design = torch.cat([latents.flatten(1), torch.ones(1, latents[0].numel())]).T
    fit = torch.linalg.lstsq(design, colours.flatten(1).T).solution
    return {"weights": fit[:-1].tolist(), "bias": fit[-1].tolist()}


def moving_clip(frames: int, height: int, width: int) -> Tensor:
    """[1,3,T,H,W] in [-1,1]: a soft disc that crosses a gradient, with a cut to darkness near the end."""
    t = torch.linspace(0, 1, frames)[:, None, None]
    y = torch.linspace(0, 1, height)[None, :, None]
    x = torch.linspace(0, 1, width)[None, None, :]
    disc = torch.sigmoid(12 * (0.25 - ((x - t).square() + (y - 0.5).square()).sqrt()))
    rgb = torch.stack([disc + 0 * x, 0.6 * x + 0.4 * disc + 0 * y, 0.7 * y + 0.3 * t + 0 * x])
    rgb = rgb * torch.where(t > 0.8, 0.2, 1.0)
    return (rgb * 2 - 1).clamp(-1, 1)[None]


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    if BUNDLE.exists():
        shutil.rmtree(BUNDLE)
    vae, text_encoder, denoiser = tiny_vae(), TinyTextEncoder(len(VOCABULARY)), TinyDenoiser()
    tokenizer = make_tokenizer()
    clip = moving_clip(25, 32, 24)
    latents = vae.encode(clip)

    write_graph(half_graph(vae.encoder, True), BUNDLE / "vae_encoder/model.onnx")
    write_graph(half_graph(vae.decoder, False), BUNDLE / "vae_decoder/model.onnx")
    # Each argument is a tensor of its own: the exporter takes one object given twice for one input.
    ids, ones = (torch.ones(2, 7, dtype=torch.int64) for _ in range(2))
    text_inputs = {"input_ids": (1,), "attention_mask": (1,)}
    write_graph(Graph(text_encoder, text_inputs, ("prompt_embeds",), ((ids, ones),)), BUNDLE / "text_encoder/model.onnx")
    names = ["latents", "timestep", "prompt_embeds", "prompt_mask", "condition_latents", "condition_mask"]
    noisy, known = (torch.zeros(2, LATENT_CHANNELS, 3, 6, 4) for _ in range(2))
    arguments = (noisy, torch.ones(2), torch.zeros(2, 7, EMBED_WIDTH), ones, known, torch.zeros(2, MASK_CHANNELS, 3, 6, 4))
    volume = (2, 3, 4)
    inputs = dict(zip(names, (volume, (), (1,), (1,), volume, volume), strict=True))
    write_graph(Graph(denoiser, inputs, ("prediction",), (arguments,)), BUNDLE / "transformer/model.onnx")
    (BUNDLE / "tokenizer").mkdir()
    tokenizer.save(str(BUNDLE / "tokenizer/tokenizer.json"))
    write_json(
        BUNDLE / "tokenizer/tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
         "sep_token": "[SEP]", "model_max_length": MAX_TOKENS},
    )
    write_json(
        BUNDLE / "scheduler/scheduler_config.json",
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    )
    files = sorted(p for p in BUNDLE.rglob("*") if p.is_file())
    write_json(BUNDLE / "reelspace.json", {
        "formatVersion": 1,
        "name": "tiny-bundle",
        "summary": "Random weights at toy widths, for tests.",
        "license": "MIT",
        "source": "models/goldens/tiny_bundle",
        "tasks": ["text", "first-frame", "last-frame", "inpaint", "restyle"],
        "latent": {
            "channels": LATENT_CHANNELS, "temporalCompression": TEMPORAL, "spatialCompression": SPATIAL,
            "sizeMultiple": SPATIAL, "rgb": fit_preview(vae, clip),
        },
        "defaults": {
            "width": 32, "height": 32, "numFrames": 9, "frameRate": 8, "steps": 4, "guidanceScale": 3,
            "negativePrompt": "", "strength": 0.6,
        },
        "window": {"latentFrames": 4, "overlap": 2},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": MAX_TOKENS, "padding": "longest"},
            "denoiser": {"path": "transformer/model.onnx", "inputs": names[2:], "conditionMask": ["keep", "follow"]},
            "vaeEncoder": {"path": "vae_encoder/model.onnx", "states": describe_states(vae.encoder)},
            "vaeDecoder": {"path": "vae_decoder/model.onnx", "states": describe_states(vae.decoder)},
        },
        "files": [
            {"path": p.relative_to(BUNDLE).as_posix(), "sizeBytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
            for p in files
        ],
    })

    prompts = ["a cat on the beach", "", "painting of an ox"]
    encoded = [tokenizer.encode(p).ids for p in prompts]
    length = max(map(len, encoded))
    input_ids = torch.tensor([e + [VOCABULARY["[PAD]"]] * (length - len(e)) for e in encoded])
    prompt_mask = torch.tensor([[1] * len(e) + [0] * (length - len(e)) for e in encoded])
    embeds = text_encoder(input_ids, prompt_mask)
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn(1, LATENT_CHANNELS, 7, 4, 3, generator=generator).expand(3, -1, -1, -1, -1)
    mask = (torch.rand(1, MASK_CHANNELS, 7, 4, 3, generator=generator) > 0.5).float().expand(3, -1, -1, -1, -1)
    level = torch.full((3,), 637.5)
    nothing = torch.zeros_like
    arrays = {
        "clip": clip,
        "clip.latents": latents,
        "clip.decoded": vae.decode(latents),
        "prompts.input_ids": input_ids,
        "prompts.mask": prompt_mask,
        "prompts.embeds": embeds,
        "denoiser.latents": noisy[:1],
        "denoiser.condition_mask": mask[:1],
        "denoiser.conditioned": denoiser(noisy, level, embeds, prompt_mask, latents.expand_as(noisy), mask),
        "denoiser.unconditioned": denoiser(noisy, level, embeds, prompt_mask, nothing(noisy), nothing(mask)),
    }
    save_file(
        {name: array.contiguous() for name, array in arrays.items()},
        FIXTURES / "tiny-bundle-goldens.safetensors",
        {"prompts": json.dumps(prompts), "timestep": "637.5"},
    )
    error = (arrays["clip.decoded"] - clip).abs().mean()
    print(f"round trip error {float(error):.3f}, latent deviation {float(latents.std()):.2f}")


if __name__ == "__main__":
    main()
