"""Writes test/fixtures/optimum: the toy pipeline of export.parity.stable_diffusion as optimum exports it.

    python goldens/make_optimum.py FOLDER      (from models/)

FOLDER is what save_pipeline of export/parity/stable_diffusion.py wrote. Needs a Python of its own: optimum-onnx 0.1.0 wants
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
    save_file({f"text_model.{name}": value for name, value in load_file(path).items()}, path, {"format": "pt"})


def write_older_encoder(source: Path, path: Path) -> None:
    """The encoder as exports of 2023 have it, with latents as its output; theirs are drawn, these are the mean."""
    model = onnx.load(source)
    (parameters,) = model.graph.output
    batch, channels, height, width = (axis.dim_param or axis.dim_value for axis in parameters.type.tensor_type.shape.dim)
    model.graph.node.append(helper.make_node("Split", [parameters.name], ["latent_sample", "unused"], axis=1, num_outputs=2))
    latents = helper.make_tensor_value_info("latent_sample", onnx.TensorProto.FLOAT, [batch, channels // 2, height, width])
    model.graph.output[0].CopyFrom(latents)
    onnx.save(model, path)


def main(pipeline: Path) -> None:
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "tiny-sd"
        shutil.copytree(pipeline, source)
        write_older_tokenizer(source / "tokenizer")
        write_older_names(source / "text_encoder" / "model.safetensors")
        main_export(str(source), output=str(OUT / "tiny-sd"), task="text-to-image", do_validation=False, no_post_process=True)
    for path in (OUT / "tiny-sd").rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        # They name folders of the machine that they were made on.
        if "_name_or_path" in content:
            path.write_text(json.dumps(content | {"_name_or_path": "tiny-sd"}, indent=2) + "\n", encoding="utf-8")
    write_older_encoder(OUT / "tiny-sd" / "vae_encoder" / "model.onnx", OUT / "older-encoder.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
