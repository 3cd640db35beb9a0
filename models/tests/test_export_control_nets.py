"""Which ControlNets go into a bundle, and what they are called. python -m pytest tests/test_export_control_nets.py"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import ControlNetModel

from export.__main__ import main
from export.control_nets import control_net_folders, read_net
from export.errors import ExportError
from export.families.control_net import add_control_nets, describe_residuals, residual_examples
from export.parity.stable_diffusion import make_unet

torch.set_num_threads(1)


def net_folder(path: Path, **config: str) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_the_kind_is_said_or_told_by_the_name(tmp_path: Path) -> None:
    for name, source, kind in (
        ("sd-controlnet-canny", "", "edges"), ("control_v11p_sd15_openpose", "", "pose"), ("a", "lllyasviel/sd-controlnet-depth", "depth"),
    ):  # fmt: skip
        assert read_net(str(net_folder(tmp_path / name, _name_or_path=source))).kind == kind
    nameless = net_folder(tmp_path / "nameless")
    assert read_net(f"my-kind={nameless}").kind == "my-kind"
    with pytest.raises(ExportError, match="Name it: --controlnet KIND="):
        read_net(str(nameless))
    with pytest.raises(ExportError, match="with a config.json, but it has none"):
        read_net(str(tmp_path))


def test_a_pipeline_brings_its_own_nets_unless_others_are_asked_for(tmp_path: Path) -> None:
    for name, source in (("controlnet", "canny"), ("controlnet_1", "depth")):
        net_folder(tmp_path / "p" / name, _name_or_path=source)
    assert [net.kind for net in control_net_folders((), tmp_path / "p")] == ["edges", "depth"]
    other = net_folder(tmp_path / "openpose")
    assert [net.kind for net in control_net_folders((str(other),), tmp_path / "p")] == ["pose"]
    with pytest.raises(ExportError, match="got pose twice"):
        control_net_folders((str(other), f"pose={other}"), tmp_path / "p")


def test_other_families_take_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = tmp_path / "p"
    pipeline.mkdir()
    (pipeline / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    net = net_folder(tmp_path / "depth")
    assert main(["--pipeline", str(pipeline), "--controlnet", str(net), "--out", str(tmp_path / "out")]) == 1
    assert "no --controlnet for a WanPipeline" in capsys.readouterr().err


@pytest.mark.parametrize("change, message", [
    ({"block_out_channels": (8, 8)}, "differs in block_out_channels"),
    ({"global_pool_conditions": True}, "position by position"),
    ({"conditioning_channels": 1}, "a picture of three channels"),
])  # fmt: skip
def test_a_net_for_another_unet_is_refused(change: dict[str, object], message: str) -> None:
    unet = make_unet()
    config = {key: value for key, value in ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 4)).config.items() if key[0] != "_"}
    model = ControlNetModel(**{**config, **change})
    net = SimpleNamespace(kind="depth", path=Path("net"), load=lambda: model)
    with pytest.raises(ExportError, match=message):
        add_control_nets(None, (net,), unet.config, 8)


def test_what_nets_add_is_described_as_the_unet_takes_it() -> None:
    unet = make_unet(layers_per_block=2)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 4))
    with torch.no_grad():
        down, middle = net(torch.zeros(3, 4, 5, 7), 1, torch.zeros(3, 2, unet.config.cross_attention_dim), torch.zeros(3, 3, 40, 56), return_dict=False)
    examples = residual_examples(unet.config, 3, 5, 7, torch.Generator())
    assert [one.shape for one in examples] == [one.shape for one in (*down, middle)]
    assert len(describe_residuals(unet.config)) == len(examples)
