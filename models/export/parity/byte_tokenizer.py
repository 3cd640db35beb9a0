"""A tokenizer like Llama 3's for the toy pipelines."""

from __future__ import annotations

import re

from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video, pipeline_hunyuan_video_image2video
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

START, END, PADDING, PICTURE = "<|begin_of_text|>", "<|eot_id|>", "<pad>", "<image>"
SPECIAL = [START, END, "<|start_header_id|>", "<|end_header_id|>", PADDING, PICTURE]
# What Llama 3's tokenizer.json splits text into before pairs are merged.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs that make one token of each word of the pipelines' instructions, as Llama 3's do."""
    templates = [module.DEFAULT_PROMPT_TEMPLATE["template"] for module in (pipeline_hunyuan_video, pipeline_hunyuan_video_image2video)]
    texts = [text for template in templates for text in re.split(r"<[^>]*>|\{\}", template)]
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    # More than there are pairs to merge.
    trainer = trainers.BpeTrainer(
        vocab_size=5000, min_frequency=1, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, SPECIAL.index(START))])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PADDING)
