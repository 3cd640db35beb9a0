"""A tokenizer like T5's for the toy pipelines."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A unigram tokenizer like T5's: pieces of words, a letter at worst, and </s> at the end."""
    words = ["▁a", "▁the", "▁cat", "▁dog", "▁on", "▁beach", "▁runs", "▁red", "▁fox", "▁blurry", "ing", "s", "▁in", "▁snow"]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz.,"]
    # Scores are logarithms of how common a piece is.
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((w, -3.0 - n / 10) for n, w in enumerate(words))]
    pieces += [(letter, -8.0 - n / 10) for n, letter in enumerate(letters) if letter not in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
