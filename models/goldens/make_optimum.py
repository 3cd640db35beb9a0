"""Writes test/fixtures/optimum: the toy pipelines tiny-sd, tiny-sdxl and tiny-lcm of export.parity as optimum exports them.

    python goldens/make_optimum.py FOLDER ...      (from models/)

Each FOLDER is what save_pipeline of its module wrote, and has the toy's name; tiny-sd comes first. Needs a Python of its own: optimum-onnx 0.1.0 wants
transformers below 4.58, which reads the tokenizer from older files (they are what optimum then writes) and has other names for
some parameters.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from onnx import helper
from optimum.exporters.onnx import main_export
from safetensors.torch import load_file, save_file

OUT = Path(__file__).parents[2] / "test" / "fixtures" / "optimum"


def write_older_tokenizer(folder: Path) -> None:
    """vocab.json and merges.txt instead of tokenizer.json."""
    whole = folder / "tokenizer.json"
    model = json.loads(whole.read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"]), encoding="utf-8")
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({key: value for key, value in json.loads(config.read_text()).items() if key != "backend"}))
    whole.unlink()


def write_older_names(path: Path) -> None:
    """Parameters of a text encoder as transformers before 5 names them."""
    prefix = "text_model."
    named = {name if name.startswith((prefix, "text_projection.")) else prefix + name: value for name, value in load_file(path).items()}
    save_file(named, path, {"format": "pt"})


def write_older_encoder(source: Path, path: Path) -> None:
    """The encoder as exports of 2023 have it, with latents as its output; theirs are drawn, these are the mean."""
    model = onnx.load(source)
    (parameters,) = model.graph.output
    batch, channels, height, width = (axis.dim_param or axis.dim_value for axis in parameters.type.tensor_type.shape.dim)
    model.graph.node.append(helper.make_node("Split", [parameters.name], ["latent_sample", "unused"], axis=1, num_outputs=2))
    latents = helper.make_tensor_value_info("latent_sample", onnx.TensorProto.FLOAT, [batch, channels // 2, height, width])
    model.graph.output[0].CopyFrom(latents)
    onnx.save(model, path)


def drop_copies(out: Path) -> None:
    """Takes away the graphs that tiny-sd has too; the tests put them back."""
    for path in sorted(out.rglob("*.onnx")):
        other = OUT / "tiny-sd" / path.relative_to(out)
        if other.is_file() and other.read_bytes() == path.read_bytes():
            path.unlink()


def main(pipeline: Path) -> None:
    out = OUT / pipeline.name
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / pipeline.name
        shutil.copytree(pipeline, source)
        for tokenizer in source.glob("tokenizer*"):
            write_older_tokenizer(tokenizer)
        for weights in source.glob("text_encoder*/model.safetensors"):
            write_older_names(weights)
        main_export(str(source), output=str(out), task="text-to-image", do_validation=False, no_post_process=True)
    for path in out.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        # They name folders of the machine that they were made on.
        if "_name_or_path" in content:
            path.write_text(json.dumps(content | {"_name_or_path": pipeline.name}, indent=2) + "\n", encoding="utf-8")
    if pipeline.name == "tiny-sd":
        write_older_encoder(out / "vae_encoder" / "model.onnx", OUT / "older-encoder.onnx")
    else:
        drop_copies(out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        main(Path(folder))
