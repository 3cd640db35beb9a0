"""What the authors of Stable Diffusion XL call the modules of its UNet, which most LoRA files for it do too.

The names: openaimodel.py of generative-models; which is which: convert_from_ckpt.py of diffusers.
"""

from __future__ import annotations

from typing import Any

RESNET = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}
ENDS = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2", "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip


def sgm_names(config: Any) -> dict[str, str]:
    """The names in diffusers by the authors', of a UNet of that configuration."""
    names = dict(ENDS)

    def add_resnet(theirs: str, ours: str) -> None:
        names.update({f"{theirs}.{inner}": f"{ours}.{name}" for inner, name in RESNET.items()})

    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    place = 1
    for level, kind in enumerate(config["down_block_types"]):
        for layer in range(layers):
            add_resnet(f"input_blocks.{place}.0", f"down_blocks.{level}.resnets.{layer}")
            if "CrossAttn" in kind:
                names[f"input_blocks.{place}.1"] = f"down_blocks.{level}.attentions.{layer}"
            place += 1
        if level < levels - 1:
            names[f"input_blocks.{place}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            place += 1
    add_resnet("middle_block.0", "mid_block.resnets.0")
    names["middle_block.1"] = "mid_block.attentions.0"
    add_resnet("middle_block.2", "mid_block.resnets.1")
    place = 0
    for level, kind in enumerate(config["up_block_types"]):
        for layer in range(layers + 1):
            add_resnet(f"output_blocks.{place}.0", f"up_blocks.{level}.resnets.{layer}")
            has_attention = "CrossAttn" in kind
            if has_attention:
                names[f"output_blocks.{place}.1"] = f"up_blocks.{level}.attentions.{layer}"
            if layer == layers and level < levels - 1:
                names[f"output_blocks.{place}.{1 + has_attention}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
            place += 1
    return names
