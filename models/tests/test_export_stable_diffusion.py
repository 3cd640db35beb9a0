"""What the exporter makes of pictures' networks, against the official modules. python -m pytest tests/test_export_stable_diffusion.py"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from export.errors import ExportError
from export.families.stable_diffusion import add_vae, embed_guidance, is_turbo, picture_size
from export.parity.stable_diffusion import make_vae
from export.pipeline_folder import PipelineFolder
from export.repeats import repeat_rows

torch.set_num_threads(1)


@pytest.mark.parametrize("width", [8, 9])
def test_guidance_is_embedded_as_the_official_pipeline_does(width: int) -> None:
    scale = torch.tensor([1.0, 4.5, 8.5])
    expected = LatentConsistencyModelPipeline.get_guidance_scale_embedding(SimpleNamespace(), scale - 1, width)
    assert torch.allclose(embed_guidance(scale, width), expected, atol=1e-4)


def test_the_size_of_a_picture_is_that_of_its_latents_in_pixels() -> None:
    assert picture_size(torch.zeros(2, 4, 1, 3, 5), 8).tolist() == [[24, 40, 0, 0, 24, 40]] * 2


def test_rows_are_repeated_as_torch_does() -> None:
    x = torch.arange(12.0).view(3, 2, 2)
    for dim in (0, 1, 2):
        assert (repeat_rows(x, 3, dim) == x.repeat_interleave(3, dim=dim)).all()


@pytest.mark.parametrize("name, source, expected", [
    ("sdxl-turbo", "", True), ("pipeline", "stabilityai/sd-turbo", True), ("SDXL_Turbo_fp16", "", True),
    ("stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5", False), ("turbofan", "", False),
])  # fmt: skip
def test_a_turbo_model_is_told_by_the_name_of_its_folder(tmp_path: Path, name: str, source: str, expected: bool) -> None:
    assert is_turbo(PipelineFolder(tmp_path / name, {"_name_or_path": source})) == expected


def test_a_vae_that_shifts_its_latents_is_refused() -> None:
    vae = make_vae()
    vae.register_to_config(shift_factor=0.1)
    with pytest.raises(ExportError, match="shift_factor"):
        add_vae(None, vae)
