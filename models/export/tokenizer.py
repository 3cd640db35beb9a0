"""Writes a tokenizer as the runtime reads it: tokenizer.json with the prompt's clean-up inside, and the padding token."""

from __future__ import annotations

import json

from tokenizers import Regex, Tokenizer, normalizers
from transformers import AutoTokenizer

from .bundle import BundleWriter
from .errors import ExportError
from .pipeline_folder import PipelineFolder

# transformers makes a tokenizer without a vocabulary of some classes, which may have a mark for a word's beginning.
FEWEST_PIECES = 2


def add_tokenizer(
    bundle: BundleWriter, folder: PipelineFolder, component: str = "tokenizer", collapse_spaces: bool = False, is_bare: bool = False
) -> None:
    """`collapse_spaces` makes every run of white space one space, and none at the ends, as some pipelines do with prompts. `is_bare`
    leaves out the special tokens around a prompt."""
    place = folder.path / component
    try:
        loaded = AutoTokenizer.from_pretrained(place)
        tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, ImportError) as cause:
        raise ExportError(f"Expected {place} to hold a tokenizer with its vocabulary, but: {cause}") from cause
    if len(pieces(tokenizer)) < FEWEST_PIECES:
        raise ExportError(
            f"Expected {place} to hold a tokenizer with its vocabulary, but it has special tokens alone. Get its tokenizer.json, or what it is "
            "made of: vocab.json with merges.txt, or a .model file."
        )
    if loaded.pad_token is None:
        raise ExportError(f"Expected {place} to name a padding token, but it has none.")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if collapse_spaces:
        clean = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        tokenizer.normalizer = normalizers.Sequence([*clean, *([] if tokenizer.normalizer is None else [tokenizer.normalizer])])
    content = json.loads(tokenizer.to_str())
    if is_bare:
        content["post_processor"] = None
    bundle.add_json(f"{component}/tokenizer.json", content)
    bundle.add_json(f"{component}/tokenizer_config.json", {"pad_token": loaded.pad_token})


def pieces(tokenizer: Tokenizer) -> set[str]:
    """The vocabulary but for special tokens."""
    return set(tokenizer.get_vocab(with_added_tokens=False)) - {token.content for token in tokenizer.get_added_tokens_decoder().values()}
