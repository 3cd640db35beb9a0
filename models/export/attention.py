"""Lets attention take queries, keys and values as linear layers give them, [B, S, heads * D], and masks as PyTorch takes them.

PyTorch's attention takes [B, heads, S, D], so that a traced graph turns all three round for it, and the result back. The operator of opset 23
takes either. Its code in onnxruntime 1.30 refuses masks of one row for all queries.
"""

from __future__ import annotations

import onnx_ir as ir

# Between [B, S, heads, D] and [B, heads, S, D].
TURN = (0, 2, 1, 3)


def adapt_attention(model: ir.Model) -> None:
    """Changes every attention whose inputs and output are turned round for it, or whose mask has one row. Needs the shapes that tracing
    leaves."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Attention" and node.domain == "":
            join(node)
            spread_mask(node)


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


def spread_mask(attention: ir.Node) -> None:
    mask = attention.inputs[3] if len(attention.inputs) > 3 else None
    if mask is None or (mask.shape is not None and mask.shape[-2] != 1):
        return
    rows = 1 if "q_num_heads" in attention.attributes else 2
    length = ir.node("Shape", [attention.inputs[0]], {"start": rows, "end": rows + 1})
    one = ir.node("Constant", [], {"value_ints": [1]})
    shape = ir.node("Concat", [length.outputs[0], one.outputs[0]], {"axis": 0})
    spread = ir.node("Expand", [mask, shape.outputs[0]])
    for node in (length, one, shape, spread):
        node.outputs[0].name = f"{mask.name}/{attention.name}/{node.op_type}"
    attention.graph.insert_before(attention, [length, one, shape, spread])
    attention.replace_input_with(3, spread.outputs[0])


def is_turn(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and tuple(node.attributes["perm"].as_ints()) == TURN


def reshape(value: ir.Value, shape: list[int], before: ir.Node) -> ir.Value:
    """The value in a shape in which 0 keeps an axis."""
    target = ir.node("Constant", [], {"value_ints": shape})
    node = ir.node("Reshape", [value, target.outputs[0]])
    target.outputs[0].name, node.outputs[0].name = f"{value.name}/{before.name}/shape", f"{value.name}/{before.name}"
    before.graph.insert_before(before, [target, node])
    return node.outputs[0]
