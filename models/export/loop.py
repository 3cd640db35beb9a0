"""Joins the two graphs of a causal network into one that runs over a whole clip and keeps its states to itself.

Where states would cross to the host and back with every call (CUDA), this is what makes them stay. What both graphs hold under
one name, the weights, is there once: the body of an ONNX Loop sees the names of the graph around it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


def join_into_loop(first_path: Path, next_path: Path, path: Path, frames: int) -> None:
    """Writes `path`: `first` takes frame 0 of its input [B,C,T,H,W] and gives states, `next` takes `frames` frames and the states
    before it; what they give is joined along time. Input and output have the names and types of the two graphs."""
    first, following = onnx.load(first_path), onnx.load(next_path)
    source, target = first.graph.input[0].name, first.graph.output[0].name
    count = len(first.graph.output) - 1
    theirs, ours = ({one.name: one for one in model.graph.initializer} for model in (first, following))
    shared = {name for name in theirs if is_same(theirs[name], ours.get(name))}
    # Parameters' names, which have dots in them, are kept: LoRA files find weights by them.
    kept_names = shared | {name for name in theirs.keys() ^ ours.keys() if "." in name}
    rename(first.graph, "first", kept_names)
    rename(following.graph, "next", kept_names)
    ends = [value.name for value in first.graph.output]

    body = helper.make_graph(
        [
            node("Mul", ["turn", "loop/frames"], ["loop/offset"]),
            node("Add", ["loop/offset", "loop/one"], ["loop/start"]),
            node("Add", ["loop/start", "loop/frames"], ["loop/end"]),
            node("Slice", [source, "loop/start", "loop/end", "loop/axis"], [following.graph.input[0].name]),
            *following.graph.node,
            node("Identity", ["go_on"], ["goes_on"]),
        ],
        "next_frames",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            *following.graph.input[1:],
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            *following.graph.output[1:],
            following.graph.output[0],
        ],
    )
    nodes = [
        node("Slice", [source, "loop/zero", "loop/one", "loop/axis"], [first.graph.input[0].name]),
        *first.graph.node,
        node("Shape", [source], ["loop/length"], start=2, end=3),
        node("Sub", ["loop/length", "loop/one"], ["loop/left"]),
        node("Div", ["loop/left", "loop/frames"], ["loop/turns"]),
        node("Squeeze", ["loop/turns"], ["loop/trips"]),
        helper.make_node(
            "Loop", ["loop/trips", "", *ends[1:]], [*(f"loop/state_{n}" for n in range(count)), "loop/stacked"], body=body
        ),
        # [turns, B, C, n, H, W] to [B, C, turns * n, H, W]; with no turn at all the other axes are not to be relied on.
        node("Transpose", ["loop/stacked"], ["loop/ordered"], perm=[1, 2, 0, 3, 4, 5]),
        node("Shape", [ends[0]], ["loop/front"], start=0, end=2),
        node("Shape", [ends[0]], ["loop/back"], start=3, end=5),
        node("Shape", ["loop/stacked"], ["loop/each"], start=3, end=4),
        node("Mul", ["loop/turns", "loop/each"], ["loop/made"]),
        node("Concat", ["loop/front", "loop/made", "loop/back"], ["loop/shape"], axis=0),
        helper.make_node("Reshape", ["loop/ordered", "loop/shape"], ["loop/rest"], allowzero=1),
        node("Concat", [ends[0], "loop/rest"], [target], axis=2),
    ]
    numbers = {"zero": 0, "one": 1, "frames": frames, "axis": 2}
    constants = [numpy_helper.from_array(np.array([value], np.int64), f"loop/{name}") for name, value in numbers.items()]
    kept = [one for one in following.graph.initializer if one.name not in shared]
    graph = helper.make_graph(
        nodes, "clip", [free_in_time(first.graph.input[0], source)], [free_in_time(first.graph.output[0], target)],
        [*first.graph.initializer, *kept, *constants],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version, producer_name="reelspace")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: object) -> NodeProto:
    return helper.make_node(operator, inputs, outputs, **attributes)


def is_same(one: TensorProto, other: TensorProto | None) -> bool:
    return other is not None and np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))


def rename(graph: GraphProto, prefix: str, kept: set[str]) -> None:
    """Puts a prefix before every name but those that are kept."""

    def named(name: str) -> str:
        return name if name == "" or name in kept else f"{prefix}/{name}"

    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = named(value.name)
    for one in graph.node:
        if any(attribute.HasField("g") for attribute in one.attribute):
            raise RuntimeError(f"Expected {prefix} to have no graphs inside it, got one in {one.op_type}.")
        one.name = named(one.name)
        one.input[:], one.output[:] = map(named, one.input), map(named, one.output)


def free_in_time(value: ValueInfoProto, name: str) -> ValueInfoProto:
    """The same with any number of frames."""
    changed = ValueInfoProto()
    changed.CopyFrom(value)
    changed.name = name
    for axis, label in ((2, f"{name}_time"), (3, f"{name}_height"), (4, f"{name}_width")):
        changed.type.tensor_type.shape.dim[axis].dim_param = label
    return changed
