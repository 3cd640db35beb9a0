"""Builds the tokenizer: a lower-casing WordPiece over the captions' words, with single letters to fall back on.

    python -m reel_tiny.text.tokenizer OUT_FOLDER
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from ..world.captions import caption, restyle_caption
from ..world.sampling import sample_spec

MAX_LENGTH = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD_ID, CLS_ID = 0, 2


def build_tokenizer(captions: int = 20000, seed: int = 0) -> Tokenizer:
    """Trained on `captions` captions of the grammar; pads and truncates to 32 ids, [CLS] first and [SEP] last."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(captions):
        spec = sample_spec(rng, held_out=None)
        texts.append(caption(spec, rng))
        if spec.style != "none":
            texts.append(restyle_caption(spec, spec.style, rng))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    trainer = trainers.WordPieceTrainer(
        vocab_size=900, min_frequency=2, special_tokens=list(SPECIAL), initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The trainer keeps "##x" only for letters seen inside words; a typo must never cost the whole word.
    state = json.loads(tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    for token in [letter for letter in letters] + [f"##{letter}" for letter in string.ascii_lowercase + string.digits]:
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(length=MAX_LENGTH, pad_id=PAD_ID, pad_token="[PAD]")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": MAX_LENGTH,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "padding_side": "right",
        "clean_up_tokenization_spaces": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    save_tokenizer(build_tokenizer(), Path(sys.argv[1]))
