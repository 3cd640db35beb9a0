"""Tokenizers that come as a vocabulary of SentencePiece alone. python -m pytest tests/test_export_tokenizer.py"""

import io
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from export.bundle import BundleWriter
from export.pipeline_folder import PipelineFolder
from export.tokenizer import add_tokenizer

TEXTS = ["a cat on the beach", "the dog runs in snow", "a red fox, and a second one.", "cats and dogs run on red sand"]


def test_a_vocabulary_of_sentencepiece_becomes_a_tokenizer(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=trained, vocab_size=30, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/spiece.model").write_bytes(trained.getvalue())
    config = {"tokenizer_class": "T5Tokenizer", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    (tmp_path / "tokenizer/tokenizer_config.json").write_text(json.dumps(config))
    bundle = BundleWriter(tmp_path / "bundle")
    add_tokenizer(bundle, PipelineFolder(tmp_path, {"_class_name": "LTXPipeline"}))
    written = Tokenizer.from_file(str(tmp_path / "bundle/tokenizer/tokenizer.json"))
    official = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    for text in [*TEXTS, "a fox", "snow, snow"]:
        assert written.encode(text).ids == [*official.encode(text), official.eos_id()]
