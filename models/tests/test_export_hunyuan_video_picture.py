"""HunyuanVideo's modules for pictures as they are exported, against diffusers. python -m pytest tests/test_export_hunyuan_video_picture.py"""

from pathlib import Path

import pytest
import torch
from diffusers import HunyuanVideoImageToVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import DEFAULT_PROMPT_TEMPLATE
from PIL import Image

from export.bundle import BundleWriter
from export.errors import ExportError
from export.families.hunyuan_video import export_image_to_video, export_text_to_video
from export.families.hunyuan_video_denoiser import denoiser_graph
from export.families.hunyuan_video_picture import MAX_TOKENS, PICTURE_TOKENS, PictureEncoder, check_llava, told_encoder_graph
from export.families.hunyuan_video_text import template_ids
from export.parity.goldens import moving_clip, pictures
from export.parity.hunyuan_video import make_transformer
from export.parity.hunyuan_video_picture import make_components, make_llava
from export.pipeline_folder import PipelineFolder

torch.set_num_threads(1)
torch.set_grad_enabled(False)
SIDE = 48


@pytest.fixture(scope="module")
def pipeline() -> HunyuanVideoImageToVideoPipeline:
    return HunyuanVideoImageToVideoPipeline(**make_components("token_replace"))


@pytest.fixture(scope="module")
def ids(pipeline: HunyuanVideoImageToVideoPipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], list[int]]:
    place = tmp_path_factory.mktemp("pipeline")
    pipeline.tokenizer.save_pretrained(place / "tokenizer")
    folder = PipelineFolder(place, {"_class_name": "HunyuanVideoImageToVideoPipeline"})
    return template_ids(folder, DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"])


def pixels_of(picture: Image.Image) -> torch.Tensor:
    levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(picture.height, picture.width, 3)
    return levels.permute(2, 0, 1)[None] / 127.5 - 1


# Where prompts end in relation to what is read: 251 tokens leave room for the one that ends the instructions, 252 don't.
@pytest.mark.parametrize("tokens", [0, 3, 250, 251, 252, 253, 300])
@pytest.mark.parametrize("stride", [2, 4])
def test_prompts_are_read_with_a_picture_as_the_pipeline_does(
    pipeline: HunyuanVideoImageToVideoPipeline, ids: tuple[list[int], list[int]], tokens: int, stride: int
) -> None:
    prompt = "0" * tokens
    picture = pictures(moving_clip(3, 40, 64))[1]
    expected, expected_mask = pipeline._get_llama_prompt_embeds(picture, prompt, DEFAULT_PROMPT_TEMPLATE, image_embed_interleave=stride)
    tokenizer = pipeline.tokenizer
    given = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids[:, :MAX_TOKENS].long()
    assert given.shape[1] == min(tokens, MAX_TOKENS)
    llava = make_llava(tokenizer)
    encoder = PictureEncoder(llava, pipeline.image_processor)
    black = encoder(torch.full((1, 3, SIDE, SIDE), -1.0))
    module = told_encoder_graph(llava.model.language_model, *ids, black, stride).module
    for embeds, (wanted, wanted_mask) in (
        (encoder(pixels_of(picture)), (expected, expected_mask)),
        # As of a negative prompt.
        (
            torch.zeros(1, PICTURE_TOKENS, 16),
            pipeline._get_llama_prompt_embeds(Image.new("RGB", (64, 40)), prompt, DEFAULT_PROMPT_TEMPLATE),
        ),
    ):
        made, mask = module(given, torch.ones_like(given), embeds)
        seen = wanted[0, wanted_mask[0] > 0]
        # The pipeline puts the picture first, which makes no difference to the transformer.
        pictured = len(seen) - int(mask[0, : given.shape[1] + 1].sum())
        torch.testing.assert_close(made[0, mask[0] > 0], torch.cat([seen[pictured:], seen[:pictured]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["latent_concat", "token_replace"])
def test_the_denoiser_is_the_official_transformer(kind: str) -> None:
    config = {"in_channels": 9, "guidance_embeds": False} if kind == "latent_concat" else {}
    official = make_transformer(image_condition_type=kind, **config)
    graph = denoiser_graph(make_transformer(image_condition_type=kind, **config))
    for latents, timestep, embeds, mask, pooled, *guidance, known, is_known in graph.examples:
        made = graph.module(latents, timestep, embeds, mask, pooled, *guidance, known, is_known)
        if kind == "latent_concat":
            given, rows = torch.cat([latents, known, is_known], dim=1), slice(None)
        else:
            # The official one takes every first frame for known.
            given, rows = torch.cat([known[:, :, :1], latents[:, :, 1:]], dim=2), slice(1)
        scale = guidance[0] * 1000 if guidance else None
        expected = official(given, timestep, embeds, mask, pooled, scale, return_dict=False)[0]
        torch.testing.assert_close(made[rows], expected[rows], rtol=0, atol=1e-5)


def test_a_first_frame_that_is_not_known_is_as_noisy_as_the_others() -> None:
    graph = denoiser_graph(make_transformer(image_condition_type="token_replace"))
    plain = denoiser_graph(make_transformer())
    *given, known, is_known = graph.examples[0]
    none = torch.zeros_like(is_known)
    torch.testing.assert_close(graph.module(*given, known, none), plain.module(*given), rtol=0, atol=1e-5)


def test_another_llava_is_refused(pipeline: HunyuanVideoImageToVideoPipeline, ids: tuple[list[int], list[int]]) -> None:
    folder = PipelineFolder(Path("somewhere"), {})
    check_llava(folder, pipeline.text_encoder, *ids)
    before, after = ids
    with pytest.raises(ExportError, match="picture's token at place 5 of the instructions and 5 tokens after a prompt, got 0 there and 5"):
        check_llava(folder, pipeline.text_encoder, [0] * len(before), after)
    llava = make_llava(pipeline.tokenizer)
    llava.config.vision_config.patch_size = 4
    with pytest.raises(ExportError, match="to see a picture as 576 patches by CLIP's last but one layer, got 144 by layer -2"):
        check_llava(folder, llava, before, after)


def test_a_transformer_of_the_other_pipeline_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    components = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2", "transformer", "vae", "scheduler", "image_processor")
    for name in components:
        (tmp_path / name).mkdir()
    config = tmp_path / "transformer/config.json"
    folder = PipelineFolder(tmp_path, {name: ["diffusers", "X"] for name in components})
    config.write_text("{}")
    with pytest.raises(ExportError, match="to take a picture. Export it as a HunyuanVideoPipeline"):
        export_image_to_video(folder, BundleWriter(tmp_path / "bundle"))
    config.write_text('{"image_condition_type": "latent_concat"}')
    with pytest.raises(ExportError, match="to go by text alone. Export it as a HunyuanVideoImageToVideoPipeline"):
        export_text_to_video(folder, BundleWriter(tmp_path / "bundle"))
