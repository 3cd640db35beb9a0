"""The exporter: what it refuses, what its graphs keep, and that it tells a graph that differs. python -m pytest tests/test_export.py"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.__main__ import Choices, choose_defaults, export_pipeline, main
from export.bundle import BundleWriter, license_of
from export.errors import ExportError
from export.graph import CPU_OPSET, OPSET, SIZED_OPS, Difference, Graph, compare, write_graph
from export.pipeline_folder import read_pipeline_folder
from export.precision import BLOCK, LARGEST_DIFFERENCE, pack
from onnx import TensorProto

torch.set_num_threads(1)


def write_index(folder: Path, **index) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


WAN = {
    "_class_name": "WanPipeline",
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "vae": ["diffusers", "AutoencoderKLWan"],
}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    return capsys.readouterr().err


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert "with a model_index.json" in refusal(capsys, "--pipeline", str(tmp_path), "--out", out)
    (tmp_path / "model_index.json").write_text("{")
    assert "to be JSON" in refusal(capsys, "--pipeline", str(tmp_path), "--out", out)
    (tmp_path / "model_index.json").write_text("[]")
    assert "a JSON object, got a list" in refusal(capsys, "--pipeline", str(tmp_path), "--out", out)


def test_an_unknown_class_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index(tmp_path / "p", _class_name="ShapEPipeline")
    error = refusal(capsys, "--pipeline", str(tmp_path / "p"), "--out", str(tmp_path / "out"))
    assert "WanPipeline" in error and "got ShapEPipeline" in error


def test_missing_components_are_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_index(tmp_path / "p", **WAN)
    for present in ("scheduler", "tokenizer", "transformer"):
        (folder / present).mkdir()
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    error = refusal(capsys, "--pipeline", str(folder), "--out", str(tmp_path / "out/model"), "--license", "mit")
    assert "it lacks text_encoder, vae." in error
    assert list((tmp_path / "out").iterdir()) == []


def test_what_the_family_does_not_cover_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_index(tmp_path / "p", **{**WAN, "transformer_2": ["diffusers", "WanTransformer3DModel"]})
    for present in ("scheduler", "tokenizer", "transformer", "transformer_2", "text_encoder", "vae"):
        (folder / present).mkdir()
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    assert "two transformers to have a boundary_ratio" in refusal(capsys, "--pipeline", str(folder), "--out", str(tmp_path / "out"), "--license", "mit")


def test_the_bundle_needs_a_name_a_place_and_a_licence(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "p", **WAN)
    with pytest.raises(ExportError, match="not to exist"):
        export_pipeline(folder, tmp_path, Choices())
    with pytest.raises(ExportError, match="letters, digits, dots and dashes, got 'my model'"):
        export_pipeline(folder, tmp_path / "my model", Choices())
    with pytest.raises(ExportError, match="Name it with --license"):
        export_pipeline(folder, tmp_path / "out", Choices())


def test_the_licence_is_read_from_the_front_of_the_card(tmp_path: Path) -> None:
    folder = read_pipeline_folder(write_index(tmp_path, **WAN))
    assert license_of(folder) is None
    (tmp_path / "README.md").write_text("---\ntags:\n- video\nlicense: apache-2.0\n---\nlicense: mit\n")
    assert license_of(folder) == "apache-2.0"
    (tmp_path / "README.md").write_text("# Model\nlicense: mit\n")
    assert license_of(folder) is None


class Causal(nn.Module):
    """A projection that is used twice, over frames and states that come one after another."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.project = nn.Linear(channels, channels)
        self.project.weight.data = torch.randn(channels, channels, generator=generator)
        self.again = self.project

    def forward(self, latents: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        moved = self.again(self.project(latents.movedim(1, -1))).movedim(-1, 1)
        return moved + sum(states, torch.zeros(())), *(state + moved for state in states)


def causal_graph(module: Causal, states: int) -> Graph:
    def example(batch: int, height: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(height)
        shape = (batch, module.project.in_features, 1, height, 3)
        return tuple(torch.randn(shape, generator=generator) for _ in range(1 + states))

    inputs = {"latents": (3, 4)} | {f"state_in_{n}": (3, 4) for n in range(states)}
    return Graph(module, inputs, ("pixels", *(f"state_out_{n}" for n in range(states))), (example(2, 4), example(1, 7)))


@pytest.mark.parametrize("states", [0, 2])
def test_a_graph_keeps_names_and_equals_pytorch(tmp_path: Path, states: int) -> None:
    module, path = Causal().eval(), tmp_path / "model.onnx"
    graph = causal_graph(module, states)
    write_graph(graph, path)
    written = onnx.load(path)
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in written.graph.initializer}
    # What is used in two places keeps one of its names.
    for name in ("weight", "bias"):
        found = weights.get(f"project.{name}", weights.get(f"again.{name}"))
        assert (found == getattr(module.project, name).detach().numpy().T).all()
    assert [entry.value for entry in written.metadata_props] == ["transposed"]
    assert [one.name for one in written.graph.input] == list(graph.inputs)
    labels = [axis.dim_param or axis.dim_value for axis in written.graph.input[0].type.tensor_type.shape.dim]
    assert labels == ["latents_batch", 4, 1, "latents_height", "latents_width"]
    assert not any(node.doc_string or node.metadata_props for node in written.graph.node)
    assert str(Path(__file__).parent).encode() not in path.read_bytes()
    assert compare(graph, path).relative < 1e-6


def test_weights_too_large_for_one_file_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.graph.LARGEST_FILE_BYTES", 10)
    module, path = Causal(16).eval(), tmp_path / "model.onnx"
    graph = causal_graph(module, 0)
    write_graph(graph, path)
    assert module.project.weight.detach().numpy().T.tobytes() in (tmp_path / "model.onnx.data").read_bytes()
    assert compare(graph, path).relative < 1e-6


def test_a_graph_that_differs_is_told_and_refused(tmp_path: Path) -> None:
    class TwoFaced(Causal):
        def forward(self, latents: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
            scale = 1.001 if torch.compiler.is_exporting() else 1.0
            return tuple(scale * value for value in super().forward(latents, *states))

    with pytest.raises(ExportError, match=r"within 0\.0001 of PyTorch, got 1\.\de-03\. No bundle was written"):
        BundleWriter(tmp_path).add_graph("vae_decoder/model.onnx", causal_graph(TwoFaced().eval(), 1))


def test_a_difference_that_is_no_number_is_infinite(tmp_path: Path) -> None:
    module, path = Causal().eval(), tmp_path / "model.onnx"
    graph = causal_graph(module, 0)
    write_graph(graph, path)
    module.project.bias.data.fill_(torch.nan)
    assert compare(graph, path).absolute == float("inf")
    assert Difference(2e-3, 0.5).relative == 2e-3 and Difference(2e-3, 20.0).relative == 1e-4


MANIFEST = {"name": "x", "summary": "Clips of x.", "license": "mit", "source": "y/x", "tasks": ["text", "restyle"]}


def test_the_manifest_lists_every_file(tmp_path: Path) -> None:
    bundle = BundleWriter(tmp_path)
    bundle.add_json("tokenizer/tokenizer.json", {"a": "é"})
    bundle.finish(MANIFEST)
    manifest = json.loads((tmp_path / "reelspace.json").read_text())
    contents = {path: (tmp_path / path).read_bytes() for path in ("MODEL_CARD.md", "tokenizer/tokenizer.json")}
    assert manifest == {
        "formatVersion": 1,
        **MANIFEST,
        "files": [
            {"path": path, "sizeBytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for path, content in contents.items()
        ],
    }


@pytest.mark.parametrize(("device", "said"), [("any", None), ("cuda", None), ("cpu", "cpu")])
def test_the_manifest_names_the_device_of_graphs_for_the_cpu_alone(tmp_path: Path, device: str, said: str | None) -> None:
    BundleWriter(tmp_path, device=device).finish(MANIFEST)
    assert json.loads((tmp_path / "reelspace.json").read_text()).get("device") == said


def test_the_model_card_says_where_a_bundle_is_from_and_how_near_it_is(tmp_path: Path) -> None:
    bundle = BundleWriter(tmp_path, "fp16")
    bundle.add_graph("text_encoder/model.onnx", looked_graph())
    bundle.finish(MANIFEST)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert card.startswith('---\nlicense: "mit"\n')
    dtype, difference = bundle.held["text_encoder/model.onnx"]
    row = f"| `text_encoder/model.onnx` | {dtype} | {difference.absolute:.1e} | {difference.largest_value:.2g} |"
    assert dtype == "fp16" and all(part in card for part in ("# x\n", "Clips of x.", "y/x", "text, restyle", row))


class Looked(nn.Module):
    """A table, a product in a block, another one and a convolution, with a constant that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table, self.blocks = nn.Embedding(9, 64), nn.ModuleList([nn.Linear(64, 24)])
        self.project, self.convolve = nn.Linear(24, 24), nn.Conv1d(24, 4, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.register_buffer("angles", torch.randn(1, 24, 16, generator=generator))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.project(self.blocks[0](self.table(input_ids))).movedim(1, -1)
        return self.convolve(x * self.angles[..., :1])


def looked_graph() -> Graph:
    def example(batch: int, tokens: int) -> tuple[Tensor, ...]:
        return (torch.arange(batch * tokens).reshape(batch, tokens) % 9,)

    return Graph(Looked().eval().requires_grad_(False), {"input_ids": (1,)}, ("embeds",), (example(2, 5), example(1, 7)))


@pytest.mark.parametrize(
    ("dtype", "matrix", "table"),
    [("fp16", TensorProto.FLOAT16, TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16, TensorProto.BFLOAT16),
     ("int8", TensorProto.INT8, TensorProto.FLOAT16), ("int4", TensorProto.UINT8, TensorProto.FLOAT16)],
)  # fmt: skip
def test_weights_in_fewer_bits_keep_names_and_stay_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, matrix: int, table: int
) -> None:
    monkeypatch.setattr("export.precision.SMALL_TABLE", 0)
    path = tmp_path / "model.onnx"
    graph = looked_graph()
    write_graph(graph, path, dtype)
    written = onnx.load(path)
    found = {one.name: one.data_type for one in written.graph.initializer}
    kept = {name: found[name] for name, _ in graph.module.named_parameters()}
    assert kept == {
        "table.weight": table, "blocks.0.weight": matrix, "project.weight": table, "convolve.weight": table,
        "blocks.0.bias": TensorProto.FLOAT, "project.bias": TensorProto.FLOAT, "convolve.bias": TensorProto.FLOAT,
    }  # fmt: skip
    assert all(one.data_type != table or one.name in kept for one in written.graph.initializer)
    assert {value.type.tensor_type.elem_type for value in written.graph.output} == {TensorProto.FLOAT}
    kinds = [node.op_type for node in written.graph.node]
    assert [kinds.count(kind) for kind in ("MatMulInteger", "MatMulNBits", "MatMul")] == {"int8": [1, 0, 1], "int4": [0, 1, 1]}.get(dtype, [0, 0, 2])
    # A matrix that is multiplied with lies as that wants it.
    layout, shape = ("int4", [24, 2, 16]) if dtype == "int4" else ("transposed", [64, 24])
    assert {entry.key: entry.value for entry in written.metadata_props} == {"blocks.0.weight": layout, "project.weight": "transposed"}
    assert next(list(one.dims) for one in written.graph.initializer if one.name == "blocks.0.weight") == shape
    assert "Transpose" not in {node.op_type for node in written.graph.node if "blocks.0.weight" in node.input}
    # A table is looked up as it is stored.
    assert next(node for node in written.graph.node if node.op_type == "Gather").input[0] == "table.weight"
    difference = compare(graph, path).relative
    assert 1e-5 < difference < LARGEST_DIFFERENCE[dtype]


def test_small_tables_keep_all_bits_so_that_every_device_can_look_them_up(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_graph(looked_graph(), path, "fp16")
    found = {one.name: one.data_type for one in onnx.load(path).graph.initializer}
    assert found["table.weight"] == TensorProto.FLOAT and found["blocks.0.weight"] == TensorProto.FLOAT16


def test_four_bits_hold_each_block_from_its_farthest_number_on() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 3 * BLOCK)).astype(np.float32)
    weight[1, BLOCK : 2 * BLOCK] = 0
    weight[2] = np.abs(weight[2])
    packed, scale = pack(weight)
    assert packed.shape == (5, 3, BLOCK // 2) and scale.shape == (5, 3)
    steps = np.stack([packed & 15, packed >> 4], -1).reshape(5, 3, BLOCK).astype(np.float32) - 8
    blocks = weight.reshape(5, 3, BLOCK)
    farthest = np.abs(blocks).max(-1, keepdims=True)
    error = np.abs(steps * scale[..., None] - blocks)
    # Half a step; on the other side of zero, where there are 7 of 8, as much as a whole one.
    assert (error <= farthest / 8 + 1e-6).all() and (error[2] <= farthest[2] / 16 + 1e-6).all()
    assert (error[np.abs(blocks) == farthest] < 1e-6).all() and (error[1, 1] == 0).all()


class Reshaping(nn.Module):
    """Frames as a batch and back, with convolutions that are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        batch, channels, frames, height, width = latents.shape
        x = self.conv(latents.transpose(1, 2).reshape(batch * frames, channels, height, width))
        return (x + self.conv(x)).reshape(batch, frames, channels, height, width).transpose(1, 2)


def reshaping_graph() -> Graph:
    torch.manual_seed(0)
    examples = tuple((torch.randn(batch, 16, frames, height, 3),) for batch, frames, height in ((2, 3, 4), (1, 1, 7)))
    return Graph(Reshaping().eval().requires_grad_(False), {"latents": (2, 3, 4)}, ("prediction",), examples)


def test_a_graph_tells_the_sizes_that_onnxruntime_does_not_work_out(tmp_path: Path) -> None:
    graph, path = reshaping_graph(), tmp_path / "model.onnx"
    write_graph(graph, path)
    assert compare(graph, path).relative < 1e-6
    told = {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in onnx.load(path).graph.value_info}
    written = {node.output[0]: node.op_type for node in onnx.load(path).graph.node}
    assert {written[name] for name in told} <= set(SIZED_OPS)
    (conv, again) = (told[name] for name, kind in written.items() if kind == "Conv")
    before = [told[name] for name, kind in written.items() if kind == "Reshape"]
    assert conv == again and conv in before
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # So that they are added up within the convolution.
    assert "Add" not in {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}


def test_a_vae_keeps_its_sizes_to_itself(tmp_path: Path) -> None:
    for path in ("vae_decoder/model.onnx", "transformer/model.onnx"):
        BundleWriter(tmp_path).add_graph(path, reshaping_graph())
        assert (len(onnx.load(tmp_path / path).graph.value_info) == 0) == path.startswith("vae")


class Attentive(nn.Module):
    """Attention as most families have it, once with a mask of one row."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, latents: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor) -> Tensor:
        given = ((self.to_q, latents), (self.to_k, prompt_embeds), (self.to_v, prompt_embeds))
        heads = [to(x).unflatten(2, (4, -1)).transpose(1, 2) for to, x in given]
        bias = (1 - prompt_mask[:, None, None]) * -1e4
        masked, free = (nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask) for mask in (bias, None))
        return (masked.transpose(1, 2) - free.transpose(1, 2)).flatten(2)


def test_attention_takes_what_linear_layers_give(tmp_path: Path) -> None:
    def example(batch: int, tokens: int, words: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(tokens)
        mask = torch.arange(words)[None] < torch.tensor([words - 1, words][:batch])[:, None]
        return torch.randn(batch, tokens, 16, generator=generator), torch.randn(batch, words, 16, generator=generator), mask.float()

    torch.manual_seed(0)
    inputs = {"latents": (1,), "prompt_embeds": (1,), "prompt_mask": (1,)}
    graph = Graph(Attentive().eval().requires_grad_(False), inputs, ("prediction",), (example(2, 5, 3), example(1, 9, 2)))
    for opset in (OPSET, CPU_OPSET):
        path = tmp_path / f"{opset}.onnx"
        write_graph(graph, path, opset=opset)
        assert compare(graph, path).absolute < 1e-6
        nodes = [node for node in onnx.load(path).graph.node if node.op_type in ("Attention", "Transpose")]
        heads = [{one.name: one.i for one in node.attribute} for node in nodes if node.op_type == "Attention"]
        assert [(one["q_num_heads"], one["kv_num_heads"]) for one in heads] == ([(4, 4)] * 2 if opset == CPU_OPSET else [])
        assert opset == OPSET or len(nodes) == len(heads)


def test_what_strays_too_far_in_fewer_bits_is_refused(tmp_path: Path) -> None:
    graph = looked_graph()
    # One row's large number leaves the others of it no bits.
    graph.module.blocks[0].weight[:, 0] = 1e5
    graph.module.table.weight[:, 0] = 0
    with pytest.raises(ExportError, match=r"text_encoder/model\.onnx in onnxruntime to be within 0\.1 of PyTorch"):
        BundleWriter(tmp_path, "int8").add_graph("text_encoder/model.onnx", graph)
    with pytest.raises(ExportError, match=r"blocks\.0\.weight has larger numbers. Export as bf16 or fp32"):
        BundleWriter(tmp_path, "fp16").add_graph("text_encoder/model.onnx", graph)


def test_the_manifest_tells_how_far_fewer_bits_are_off_and_the_vae_has_all(tmp_path: Path) -> None:
    bundle = BundleWriter(tmp_path, "fp16")
    bundle.add_graph("text_encoder/model.onnx", looked_graph())
    bundle.add_graph("vae_decoder/model.onnx", looked_graph())
    bundle.finish(MANIFEST)
    weights = json.loads((tmp_path / "reelspace.json").read_text())["weights"]
    assert weights["dtype"] == "fp16" and list(weights["differences"]) == ["text_encoder/model.onnx"]
    assert 1e-5 < weights["differences"]["text_encoder/model.onnx"] < 5e-3


def test_size_and_length_of_a_clip_are_chosen_within_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    described = {"latent": {"sizeMultiple": 16, "temporalCompression": 4}, "defaults": {"width": 832, "height": 480, "numFrames": 81}}
    choose_defaults(described, Choices(size=(640, 352), frames=33))
    assert described["defaults"] == {"width": 640, "height": 352, "numFrames": 33}
    for choices, message in (
        (Choices(size=(640, 350)), r"--size to be multiples of 16, got 640x350\. The nearest is 640x352\."),
        (Choices(size=(0, 16)), r"--size to be multiples of 16, got 0x16\. The nearest is 16x16\."),
        (Choices(frames=-3), r"got -3\. The nearest are 1 and 5\."),
        (Choices(frames=32), r"--frames to be 1 more than a multiple of 4, got 32\. The nearest are 29 and 33\."),
    ):
        with pytest.raises(ExportError, match=message):
            choose_defaults(described, choices)
    described["latent"]["fixedSize"] = True
    choose_defaults(described, Choices(size=(640, 352)))
    with pytest.raises(ExportError, match="no --size, as this model makes 640x352 alone"):
        choose_defaults(described, Choices(size=(832, 480)))
    with pytest.raises(SystemExit):
        main(["--pipeline", "x", "--out", "y", "--size", "640"])
    assert "expected WIDTHxHEIGHT" in capsys.readouterr().err
