"""Pipelines that are not what the exporter takes: each is told what is wrong and what would do. python -m pytest tests/test_export_bad_input.py"""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import transformers
from diffusers import HunyuanVideoTransformer3DModel
from transformers import CLIPTextModel

from export.__main__ import Choices, export_pipeline, locate
from export.bundle import BundleWriter
from export.errors import ExportError
from export.parity.hunyuan_video import make_shared, make_transformer
from export.parity.unigram_tokenizer import make_tokenizer
from export.pipeline_folder import PipelineFolder
from export.tokenizer import add_tokenizer

torch.set_num_threads(1)


def refused(folder: Path, message: str, **index: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline", **index}))
    with pytest.raises(ExportError, match=message):
        export_pipeline(folder, folder / "out", Choices(license="mit"))


def test_an_unknown_class_is_told_the_nearest(tmp_path: Path) -> None:
    refused(tmp_path, r"classes .*AnimateDiffPipeline, .*, WanVACEPipeline, got WanPipelin in .*\. The nearest is WanPipeline\.$", _class_name="WanPipelin")
    refused(tmp_path, r"got Zzz in [^ ]*\.$", _class_name="Zzz")
    refused(tmp_path, "got None in", _class_name=None)


def test_another_version_of_diffusers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = version("diffusers")
    refused(tmp_path, rf"of diffusers {here}, which is installed, or older, got one of 99\.1\.0 in .* install -U diffusers", _diffusers_version="99.1.0")
    # One of this version, of an older one, or of one that is not named, is refused for what it lacks alone.
    for saved in (here, "0.9.0.dev0", "unknown", None):
        refused(tmp_path, "scheduler_config.json to be there", _diffusers_version=saved)
    for library in ("diffusers", "transformers"):
        with monkeypatch.context() as patched:
            patched.setattr("export.versions.version", lambda name, older=library: "0.30.0" if name == older else version(name))
            refused(tmp_path, rf"Expected {library} [\d.]+ or newer, got 0\.30\.0\. Run: python -m pip install -r .*requirements\.txt$")


def test_a_name_is_a_folder_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org/name").mkdir(parents=True)
    assert locate("org/name") == (Path("org/name"), None)
    with pytest.raises(ExportError, match=r"with a model_index\.json, but it has none\. .* name one on the Hugging Face Hub: org/name\.$"):
        export_pipeline(*locate("./nowhere")[:1], tmp_path / "out", Choices())


@pytest.fixture()
def folder(tmp_path: Path) -> PipelineFolder:
    make_transformer().save_pretrained(tmp_path / "transformer")
    make_shared()["text_encoder_2"].save_pretrained(tmp_path / "text_encoder")
    index = {"transformer": ["diffusers", "HunyuanVideoTransformer3DModel"], "text_encoder": ["transformers", "CLIPTextModel"]}
    return PipelineFolder(tmp_path, index)


@pytest.mark.parametrize(
    ("component", "kind", "weights", "layers"),
    [("transformer", HunyuanVideoTransformer3DModel, "diffusion_pytorch_model.safetensors", "num_layers"),
     ("text_encoder", CLIPTextModel, "model.safetensors", "num_hidden_layers")],
)  # fmt: skip
def test_a_component_that_is_not_whole_is_refused(folder: PipelineFolder, component: str, kind: type, weights: str, layers: str) -> None:
    def fails(message: str) -> None:
        with pytest.raises(ExportError, match=rf"Expected .*{component} to {message}[\s\S]* Get the whole pipeline again\.$"):
            folder.load(component, kind)

    assert isinstance(folder.load(component, kind), kind)
    place = folder.path / component
    config, whole = json.loads((place / "config.json").read_text()), (place / weights).read_bytes()
    # The libraries themselves would make up what is missing.
    (place / "config.json").write_text(json.dumps({**config, layers: config[layers] + 1}))
    fails(rf"have all weights of a {kind.__name__}, but it lacks \d+, ")
    (place / "config.json").write_text(json.dumps(config))
    (place / weights).write_bytes(whole[: len(whole) // 2])
    fails(f"load as a {kind.__name__}, but: ")
    (place / weights).unlink()
    fails(f"load as a {kind.__name__}, but: ")
    (place / "config.json").unlink()
    fails(f"load as a {kind.__name__}, but: ")
    with pytest.raises(ExportError, match=rf"{component} of .* to be a BertModel, got [a-z]+\.{kind.__name__}\.$"):
        folder.load(component, transformers.BertModel)


def test_a_tokenizer_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    folder, place = PipelineFolder(tmp_path, {}), tmp_path / "tokenizer"

    def fails(message: str) -> None:
        with pytest.raises(ExportError, match=rf"Expected .*tokenizer to {message}"):
            add_tokenizer(BundleWriter(tmp_path / "bundle"), folder)

    place.mkdir()
    fails("hold a tokenizer with its vocabulary, but: ")
    # Of these transformers makes tokenizers without words.
    for kind in ("T5TokenizerFast", "CLIPTokenizer", "LlamaTokenizerFast"):
        (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "pad_token": "<pad>", "eos_token": "</s>"}))
        fails("hold a tokenizer with its vocabulary, but it has special tokens alone. Get its tokenizer.json, or what it is made of")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(place)
    content = (place / "tokenizer.json").read_text()
    (place / "tokenizer.json").write_text(content[:100])
    fails("hold a tokenizer with its vocabulary, but: ")
    (place / "tokenizer.json").write_text(content)
    config = json.loads((place / "tokenizer_config.json").read_text())
    (place / "tokenizer_config.json").write_text(json.dumps({key: value for key, value in config.items() if key != "pad_token"}))
    fails("name a padding token, but it has none")
    assert not (tmp_path / "bundle").exists()
