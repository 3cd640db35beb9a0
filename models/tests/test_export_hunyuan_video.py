"""HunyuanVideo's modules as they are exported, against diffusers. python -m pytest tests/test_export_hunyuan_video.py"""

from pathlib import Path

import pytest
import torch
from diffusers import HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

from export.errors import ExportError
from export.families.hunyuan_video_denoiser import denoiser_graph
from export.families.hunyuan_video_text import MAX_TOKENS, template_ids, text_encoder_graph
from export.families.hunyuan_video_vae import Decoder, Encoder
from export.parity.hunyuan_video import make_llama, make_shared, make_transformer
from export.pipeline_folder import PipelineFolder

torch.set_num_threads(1)
torch.set_grad_enabled(False)
TEMPLATE = DEFAULT_PROMPT_TEMPLATE["template"]


@pytest.fixture(scope="module")
def pipeline() -> HunyuanVideoPipeline:
    shared = make_shared()
    tokenizer = shared["tokenizer"]
    return HunyuanVideoPipeline(**shared, text_encoder=make_llama(len(tokenizer), tokenizer.pad_token_id), transformer=make_transformer())


@pytest.fixture()
def folder(pipeline: HunyuanVideoPipeline, tmp_path: Path) -> PipelineFolder:
    pipeline.tokenizer.save_pretrained(tmp_path / "tokenizer")
    return PipelineFolder(tmp_path, {"_class_name": "HunyuanVideoPipeline"})


@pytest.mark.parametrize("prompt", ["a red fox", "", "the cat, " * 200, "two\n\nlines <|eot_id|> and 12345"])
def test_prompts_are_embedded_as_the_pipeline_does(pipeline: HunyuanVideoPipeline, folder: PipelineFolder, prompt: str) -> None:
    expected, expected_mask = pipeline._get_llama_prompt_embeds(prompt, DEFAULT_PROMPT_TEMPLATE)
    count = int(expected_mask.sum())
    tokenizer = pipeline.tokenizer
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids[:, :MAX_TOKENS].long()
    padded = torch.nn.functional.pad(ids, (0, max(0, 5 - ids.shape[1])), value=tokenizer.pad_token_id)
    mask = (torch.arange(padded.shape[1]) < ids.shape[1]).long()[None]
    graph = text_encoder_graph(make_llama(len(tokenizer), tokenizer.pad_token_id), *template_ids(folder, TEMPLATE, 95))
    embeds, own_mask = graph.module(padded, mask)
    assert own_mask[0].tolist() == [1.0] * count + [0.0] * (own_mask.shape[1] - count)
    torch.testing.assert_close(embeds[:, :count], expected[:, :count], rtol=0, atol=1e-5)


def test_instructions_of_another_length_are_refused(folder: PipelineFolder) -> None:
    with pytest.raises(ExportError, match="to make 94 tokens of the instructions .* got 95"):
        template_ids(folder, TEMPLATE, 94)


@pytest.mark.parametrize("guidance_embeds", [True, False])
def test_the_denoiser_is_the_official_transformer(guidance_embeds: bool) -> None:
    official = make_transformer(guidance_embeds=guidance_embeds)
    graph = denoiser_graph(make_transformer(guidance_embeds=guidance_embeds))
    assert ("guidance" in graph.inputs) == guidance_embeds
    for latents, timestep, embeds, mask, pooled, *guidance in graph.examples:
        scale = guidance[0] * 1000 if guidance else None
        expected = official(latents, timestep, embeds, mask, pooled, scale, return_dict=False)[0]
        made = graph.module(latents, timestep, embeds, mask, pooled, *guidance)
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_vae_is_the_official_one(frames: int) -> None:
    official, vae = make_shared()["vae"], make_shared()["vae"]
    generator = torch.Generator().manual_seed(frames)
    latents = torch.randn(2, 4, frames, 2, 3, generator=generator)
    pixels = torch.randn(1, 3, 4 * frames - 3, 16, 24, generator=generator)
    torch.testing.assert_close(Decoder(vae)(latents), official.decode(latents / 0.5).sample, rtol=0, atol=1e-5)
    torch.testing.assert_close(Encoder(vae)(pixels), official.encode(pixels).latent_dist.mode() * 0.5, rtol=0, atol=1e-5)
