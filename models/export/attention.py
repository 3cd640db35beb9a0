"""Lets attention take queries, keys and values as linear layers give them, [B, S, heads * D].

PyTorch's attention takes [B, heads, S, D], so that a traced graph turns all three round for it, and the result back. The operator of opset 23
takes either.
"""

from __future__ import annotations

import onnx_ir as ir

# Between [B, S, heads, D] and [B, heads, S, D].
TURN = (0, 2, 1, 3)


def join_heads(model: ir.Model) -> None:
    """Changes every attention whose inputs and output are turned round for it. Needs the shapes that tracing leaves."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Attention" and node.domain == "":
            join(node)


def join(attention: ir.Node) -> None:
    turns = [value.producer() for value in attention.inputs[:3]]
    after = [user for user, _ in attention.outputs[0].uses()]
    if len(after) != 1 or not all(node is not None and is_turn(node) for node in (*turns, *after)):
        return
    inputs = [turn.inputs[0] for turn in turns]
    heads = [value.shape[2] if value.shape is not None else None for value in inputs]
    if not all(isinstance(count, int) for count in heads):
        return
    for place, value in enumerate(inputs):
        attention.replace_input_with(place, reshape(value, [0, 0, -1], before=attention))
    attention.attributes.add(ir.AttrInt64("q_num_heads", heads[0]))
    attention.attributes.add(ir.AttrInt64("kv_num_heads", heads[1]))
    ir.convenience.replace_all_uses_with(after[0].outputs[0], reshape(attention.outputs[0], [0, 0, heads[0], -1], before=after[0]))


def is_turn(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and tuple(node.attributes["perm"].as_ints()) == TURN


def reshape(value: ir.Value, shape: list[int], before: ir.Node) -> ir.Value:
    """The value in a shape in which 0 keeps an axis."""
    target = ir.node("Constant", [], {"value_ints": shape})
    node = ir.node("Reshape", [value, target.outputs[0]])
    target.outputs[0].name, node.outputs[0].name = f"{value.name}/{before.name}/shape", f"{value.name}/{before.name}"
    before.graph.insert_before(before, [target, node])
    return node.outputs[0]
