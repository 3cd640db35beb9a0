"""Writes the tiny ONNX graphs that the tests of src/networks run: python models/goldens/networks/make_networks.py

Each is simple enough for a test to work its answer out by hand.
"""

from base64 import b64encode
from pathlib import Path

from onnx import TensorProto, checker, save
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
    set_model_props,
)

FIXTURES = Path(__file__).resolve().parents[3] / "test" / "fixtures" / "networks"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, shape, kind=FLOAT):
    return make_tensor_value_info(name, kind, shape)


def constant(name, values, kind=FLOAT, shape=None):
    return make_tensor(name, kind, [len(values)] if shape is None else shape, values)


def write(name, nodes, inputs, outputs, weights=(), marks=()):
    graph = make_graph(nodes, name, inputs, outputs, list(weights))
    opsets = [make_opsetid("", 20), *(make_opsetid(domain, 1) for domain in sorted({node.domain for node in nodes} - {""}))]
    model = make_model(graph, opset_imports=opsets, ir_version=10)
    set_model_props(model, dict(marks))
    checker.check_model(model, full_check=True)
    save(model, FIXTURES / f"{name}.onnx")


def affine():
    """y = 2x + 1, j = i + 1."""
    write(
        "affine",
        [
            make_node("Mul", ["x", "scale"], ["scaled"], "node_scale"),
            make_node("Add", ["scaled", "one"], ["y"], "node_add"),
            make_node("Add", ["i", "step"], ["j"], "node_step"),
        ],
        [value("x", ["n", 3]), value("i", ["m"], INT64)],
        [value("y", ["n", 3]), value("j", ["m"], INT64)],
        [constant("scale", [2.0], shape=[]), constant("one", [1.0]), constant("step", [1], INT64)],
    )


def slow():
    """y = softmax(x y) over and over: takes as long as the test likes, and ends in rows that add up to 1."""
    body = make_graph(
        [
            make_node("Identity", ["going"], ["goes_on"]),
            make_node("MatMul", ["x", "last"], ["product"]),
            make_node("Softmax", ["product"], ["next"], axis=-1),
        ],
        "step",
        [value("turn", [], INT64), value("going", [], TensorProto.BOOL), value("last", ["n", "n"])],
        [value("goes_on", [], TensorProto.BOOL), value("next", ["n", "n"])],
    )
    write(
        "slow",
        [make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)],
        [value("x", ["n", "n"]), value("turns", [], INT64)],
        [value("y", ["n", "n"])],
        [constant("yes", [True], TensorProto.BOOL, [])],
    )


def causal():
    """y[t] = x[t] + 2 x[t-1] + 4 x[t-2] along time, and total = the sum of all frames so far: two states."""
    at = {"zero": 0, "one": 1, "two": 2, "end": 2**31, "minus_one": -1, "minus_two": -2, "time": 2}
    write(
        "causal",
        [
            make_node("Concat", ["state_in_0", "x"], ["padded"], axis=2),
            make_node("Slice", ["padded", "zero", "minus_two", "time"], ["older"]),
            make_node("Slice", ["padded", "one", "minus_one", "time"], ["old"]),
            make_node("Mul", ["older", "four_times"], ["older_part"]),
            make_node("Mul", ["old", "twice"], ["old_part"]),
            make_node("Add", ["older_part", "old_part"], ["past"]),
            make_node("Add", ["x", "past"], ["y"]),
            make_node("Slice", ["padded", "minus_two", "end", "time"], ["state_out_0"]),
            make_node("ReduceSum", ["x", "time"], ["sum"], keepdims=1),
            make_node("Add", ["state_in_1", "sum"], ["state_out_1"]),
            make_node("Mul", ["state_out_1", "once"], ["total"]),
        ],
        [
            value("x", ["b", 2, "t", "h", "w"]),
            value("state_in_0", ["b", 2, 2, "h", "w"]),
            value("state_in_1", ["b", 2, 1, "h", "w"]),
        ],
        [
            value("y", ["b", 2, "t", "h", "w"]),
            value("total", ["b", 2, 1, "h", "w"]),
            value("state_out_0", ["b", 2, 2, "h", "w"]),
            value("state_out_1", ["b", 2, 1, "h", "w"]),
        ],
        [constant(name, [number], INT64) for name, number in at.items()]
        + [constant("once", [1.0]), constant("twice", [2.0]), constant("four_times", [4.0])],
    )


def sine():
    """y = sin(x), which WebGPU computes with an error of its own unless it is kept off the device."""
    write("sine", [make_node("Sin", ["x"], ["y"], "node_sine")], [value("x", ["n"])], [value("y", ["n"])])


def half():
    """A graph whose input is float16."""
    write(
        "half",
        [make_node("Cast", ["x"], ["y"], to=FLOAT)],
        [value("x", ["n"], TensorProto.FLOAT16)],
        [value("y", ["n"])],
    )


def reshape():
    """Fits x into [2, 3], and so fails for any other number of elements."""
    write(
        "reshape",
        [make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", ["n"])],
        [value("y", [2, 3])],
        [constant("shape", [2, 3], INT64)],
    )


def large():
    """y = x + n n zeros: tiny on disk, 4 n n bytes and more while it runs."""
    write(
        "large",
        [
            make_node("Concat", ["n", "n"], ["shape"], axis=0),
            make_node("ConstantOfShape", ["shape"], ["zeros"]),
            make_node("Add", ["zeros", "x"], ["grid"]),
            make_node("ReduceMax", ["grid"], ["y"], keepdims=0),
        ],
        [value("x", []), value("n", [1], INT64)],
        [value("y", [])],
    )


def packed():
    """y = the sum of x, four times: weights of 1 in 4 bits, two a byte, where 8 is zero."""
    write(
        "packed",
        [make_node("MatMulNBits", ["x", "w", "scales"], ["y"], domain="com.microsoft", K=32, N=4, bits=4, block_size=32)],
        [value("x", ["n", 32])],
        [value("y", ["n", 4])],
        [constant("w", [0x99] * 64, TensorProto.UINT8, [4, 1, 16]), constant("scales", [1.0] * 4, shape=[4, 1])],
        [("w", "int4")],
    )


def probe():
    """The graph that a device is tried and timed with: x = softmax(x x), a few times over."""
    nodes, last = [], "x"
    for turn in range(6):
        out = "y" if turn == 5 else f"p{turn}"
        nodes += [
            make_node("MatMul", [last, "x"], [f"m{turn}"]),
            make_node("Softmax", [f"m{turn}"], [out], axis=-1),
        ]
        last = out
    write("probe", nodes, [value("x", ["n", "n"])], [value("y", ["n", "n"])])
    print(b64encode((FIXTURES / "probe.onnx").read_bytes()).decode())


if __name__ == "__main__":
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for make in (affine, slow, causal, sine, half, reshape, large, packed, probe):
        make()
