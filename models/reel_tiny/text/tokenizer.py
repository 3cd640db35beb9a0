"""Builds the tokenizer: a lower-casing WordPiece over the captions' words, with single letters to fall back on.

    python -m reel_tiny.text.tokenizer OUT_FOLDER [--extend TOKENIZER_JSON]

With --extend, all tokens keep their ids, and words that captions and prompts have learnt since follow them. What the model
can't draw has no word of its own in it, so that a word in pieces is one that it doesn't know. Pieces of two and three letters
are those of words that mean something: of a misspelt one most are right, and few other words have them.
"""

from __future__ import annotations

import argparse
import json
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from ..world.captions import caption, restyle_caption
from ..world.prompts import lexicon, meanings
from ..world.things import THINGS
from ..world.sampling import sample_spec

MAX_LENGTH = 32
PIECE_LENGTHS = (2, 3)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD_ID, CLS_ID = 0, 2


def sample_captions(captions: int = 60000, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(captions):
        spec = sample_spec(rng, held_out=None)
        texts.append(caption(spec, rng))
        if spec.style != "none":
            texts.append(restyle_caption(spec, spec.style, rng))
    return texts


def phrases_of_prompts() -> list[str]:
    """Phrases of the lexicon, without the words that only stand for unknown things."""
    unknown = {word for phrase in (*lexicon().people, *lexicon().unknown) for word in phrase.split()}
    unknown -= {word for phrase, plain in meanings() if plain for word in phrase.split()}
    return [" ".join(word for word in phrase.split() if word not in unknown) for phrase, _ in meanings()]


def words_that_mean_something() -> set[str]:
    """Those of names of things, and of other phrases of the lexicon that are drawn."""
    phrases = [*(phrase for phrase, plain in meanings() if plain), *(word for thing in THINGS for word in (thing.name, *thing.words))]
    return {word for phrase in phrases for word in phrase.split() if word.isalpha()}


def pieces_of(words: set[str]) -> list[str]:
    """What those words are made of behind their first letter, as tokens."""
    return sorted({f"##{word[at : at + length]}" for word in words for length in PIECE_LENGTHS for at in range(1, len(word) - length + 1)})


def build_tokenizer(texts: list[str]) -> Tokenizer:
    """Trained on `texts`; pads and truncates to 32 ids, [CLS] first and [SEP] last."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    trainer = trainers.WordPieceTrainer(
        vocab_size=1800, min_frequency=2, special_tokens=list(SPECIAL), initial_alphabet=letters, show_progress=False
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


def extend_tokenizer(tokenizer: Tokenizer, texts: list[str], pieces: Sequence[str] = ()) -> Tokenizer:
    """`tokenizer` with every word of `texts` as one token, and the pieces; the ids that it had stay."""
    state = json.loads(tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    words = {word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))}
    for word in (*sorted(words), *pieces):
        vocabulary.setdefault(word, len(vocabulary))
    return Tokenizer.from_str(json.dumps(state))


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--extend", help="a tokenizer.json whose ids are to stay")
    options = parser.parse_args()
    captions = sample_captions()
    tokenizer = build_tokenizer(captions) if options.extend is None else Tokenizer.from_file(options.extend)
    tokenizer = extend_tokenizer(tokenizer, [*captions, *phrases_of_prompts()], pieces_of(words_that_mean_something()))
    save_tokenizer(tokenizer, options.out)


if __name__ == "__main__":
    main()
