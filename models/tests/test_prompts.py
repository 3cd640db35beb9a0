"""Prompts in people's own words, and the text encoder that learns to read them. python -m pytest tests/test_prompts.py"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from reel_tiny.denoiser.export import mean_text
from reel_tiny.denoiser.network import Config, Denoiser
from reel_tiny.denoiser.planner import Planner
from reel_tiny.text.encoder import WIDTH, TextEncoder
from reel_tiny.text.tokenizer import extend_tokenizer, phrases_of_prompts, pieces_of, words_that_mean_something
from reel_tiny.text.train import load_bundled_encoder
from reel_tiny.text.typos import misspell, mistype, typed
from reel_tiny.text.widen import NEW, QUERIES, Reader, begin_words, cross_attentions, distances, encode, gather_queries, grow_planner, look_alikes, sample, sample_batch, share_off, thing_of, told
from reel_tiny.weights import load_denoiser
from reel_tiny.world.captions import plain_caption, plain_motions
from reel_tiny.world.motions import MOTION_NAMES
from reel_tiny.world.prompts import WORDS_OF, Said, lexicon, meanings, name_alone, prompt, restyle_prompt, sample_said
from reel_tiny.world.render import Spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES
from reel_tiny.world.things import THING_NAMES, THINGS

torch.set_num_threads(1)
HERE = Path(__file__).parent.parent
STYLES = set(STYLE_NAMES) - {"none"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(HERE / "reel-tiny/tokenizer/tokenizer.json"))


def test_the_lexicon_has_words_for_all_that_is_drawn_and_for_nothing_else() -> None:
    words = lexicon()
    assert set(words.things) == set(THING_NAMES)
    assert set(words.places) == set(words.scene_nouns) == set(SCENE_NAMES)
    assert set(words.motions) == set(MOTION_NAMES)
    assert set(words.style_nouns) == set(words.style_tails) == set(words.style_orders) == STYLES


def test_a_word_of_the_lexicon_stands_for_one_thing() -> None:
    listed = Counter(word for phrases in lexicon().things.values() for word in phrases)
    listed.update(word for thing in THINGS for word in thing.words)
    listed.update((*lexicon().people, *lexicon().unknown))
    assert [word for word, count in listed.items() if count > 1] == []


def test_prompts_hold_words_for_all_that_they_mean() -> None:
    rng = np.random.default_rng(0)
    of_snow = [*lexicon().places["snow"], "snow", "winter"]
    for _ in range(50):
        said = prompt(Spec("fox", "snow", "left", "pencil", 0), rng)
        assert any(word in said for word in ("fox", *lexicon().things["fox"]))
        assert any(place in said for place in of_snow)
    for style in STYLES:
        assert restyle_prompt(style, rng) != ""


def test_what_is_said_is_plain_in_the_words_of_captions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        said = sample_said(rng)
        assert said.prompt.strip() == said.prompt != ""
        assert said.plain != ""
    assert plain_motions()["left"] == "moving left"
    assert "still" not in plain_motions()
    assert plain_caption(Spec("fox", "snow", "left", "none", 0)) == "a fox moving left in the snow"


def test_each_word_that_means_something_is_one_token_and_unknown_things_are_none(tokenizer: Tokenizer) -> None:
    for phrase in phrases_of_prompts():
        assert not any(token.startswith("##") for token in tokenizer.encode(phrase).tokens), phrase
    meaningful = {word for phrase, plain in meanings() if plain for word in phrase.split()}
    unknown = [word for word in (*lexicon().people, *lexicon().unknown) if word not in meaningful and word.isalpha()]
    in_pieces = [word for word in unknown if any(token.startswith("##") for token in tokenizer.encode(word).tokens)]
    assert len(unknown) > 100
    assert len(in_pieces) > 0.9 * len(unknown)


def test_prompts_people_wrote_are_about_what_is_drawn() -> None:
    asked = json.loads((HERE / "eval/asked.json").read_text())
    assert len(asked) == 200
    for one in asked:
        assert one["thing"] in (None, *THING_NAMES)
        assert one["scene"] in (None, *SCENE_NAMES)
        assert one["motion"] in (None, *MOTION_NAMES)
        assert one["style"] in STYLE_NAMES


def test_new_words_begin_as_what_they_mean(tokenizer: Tokenizer) -> None:
    known = tokenizer.get_vocab_size()
    encoder = TextEncoder(known + 1)
    longer = extend_tokenizer(tokenizer, ["zyzzyva"])
    begin_words(encoder, longer, known, {})
    assert torch.equal(encoder.tokens.weight[known], torch.zeros(WIDTH))
    beagle, kangaroo = tokenizer.token_to_id("beagle"), tokenizer.token_to_id("kangaroo")
    begin_words(encoder, longer, beagle, {"kangaroo": "fox"})
    dog, fox = (encoder.tokens.weight[tokenizer.token_to_id(word)] for word in ("dog", "fox"))
    assert torch.allclose(encoder.tokens.weight[beagle], dog)
    assert torch.allclose(encoder.tokens.weight[kangaroo], fox)


def test_a_new_piece_begins_as_the_words_that_it_is_in(tokenizer: Tokenizer) -> None:
    encoder, piece = TextEncoder(tokenizer.get_vocab_size()), tokenizer.token_to_id("##ang")
    whole = [index for word, index in tokenizer.get_vocab().items() if "ang" in word[1:] and not word.startswith("##")]
    assert len(whole) > 3 and tokenizer.token_to_id("kangaroo") in whole
    begin_words(encoder, tokenizer, piece, {})
    assert torch.allclose(encoder.tokens.weight[piece], encoder.tokens.weight[whole].mean(0))


def test_a_misspelt_word_is_read_in_few_pieces(tokenizer: Tokenizer) -> None:
    assert [token for token in tokenizer.encode("kangroo").tokens if token != "[PAD]"] == ["[CLS]", "k", "##ang", "##roo", "[SEP]"]
    assert pieces_of({"goat", "oats", "a"}) == ["##at", "##ats", "##oa", "##oat", "##ts"]
    assert set(pieces_of(words_that_mean_something())) <= set(tokenizer.get_vocab())


def test_the_mean_of_text_encoders_has_the_firsts_new_tokens(tmp_path: Path) -> None:
    torch.manual_seed(1)
    saved = []
    for tokens in (7, 5):
        encoder, planner = TextEncoder(tokens), Planner(WIDTH, 3)
        saved.append({"encoder": encoder.state_dict(), "planner": planner.state_dict()})
        torch.save(saved[-1], tmp_path / f"{tokens}.pt")
    encoder, planner = mean_text([tmp_path / "7.pt", tmp_path / "5.pt"], [0.75, 0.25])
    first, second = (one["encoder"]["tokens.weight"] for one in saved)
    assert torch.allclose(encoder.tokens.weight[:5], 0.75 * first[:5] + 0.25 * second)
    assert torch.allclose(encoder.tokens.weight[5:], first[5:])
    assert torch.allclose(planner.thing.weight, 0.75 * saved[0]["planner"]["thing.weight"] + 0.25 * saved[1]["planner"]["thing.weight"])
    torch.save({"encoder": saved[0]["encoder"]}, tmp_path / "alone.pt")
    assert mean_text([tmp_path / "alone.pt"], None)[1] is None


def test_new_things_are_told_as_those_that_look_like_them() -> None:
    # Nothing, then one picture a thing; the first of two new ones looks like the second known one.
    looks = torch.tensor([[0, 0], [90, 0], [0, 90], [10, 80], [80, 10]], dtype=torch.int8)
    known = 2
    stand_ins = look_alikes(looks, known)
    assert stand_ins == {THING_NAMES[2]: THING_NAMES[1], THING_NAMES[3]: THING_NAMES[0]}
    spec = Spec(THING_NAMES[2], "snow", "left", "pencil", 0)
    assert told(Said("", plain_caption(spec), spec), stand_ins) == plain_caption(replace(spec, thing=THING_NAMES[1]))
    assert told(Said("", "a fox in the snow", replace(spec, thing=THING_NAMES[0])), stand_ins) == "a fox in the snow"
    assert told(Said("sketch it", "a pencil sketch"), stand_ins) == "a pencil sketch"


def test_a_grown_planner_thinks_of_new_things_what_it_thinks_of_their_stand_ins() -> None:
    torch.manual_seed(0)
    planner, pictures = Planner(8, 3), torch.randint(0, 127, (5, Planner(8, 1).pictures.shape[1]), dtype=torch.int8)
    grown, summary = grow_planner(planner, pictures, {THING_NAMES[2]: THING_NAMES[1], THING_NAMES[3]: THING_NAMES[0]}), torch.randn(6, 8)
    assert torch.equal(grown.thing(summary), planner.thing(summary)[:, [0, 1, 2, 2, 1]])
    index = torch.arange(7.0).expand(6, -1)
    assert torch.equal(grown.poses(summary, index), planner.poses(summary, index))
    assert torch.equal(grown.pictures, pictures)


def test_batches_are_mostly_about_new_things_where_there_are_any() -> None:
    rng = np.random.default_rng(0)
    batch = sample_batch(rng, 400, 126)
    assert abs(np.mean([thing_of(one) > 126 for one in batch]) - NEW) < 0.1
    assert all((thing_of(one) == 0) == (one.spec is None or one.spec.thing is None) for one in batch)
    assert len(sample_batch(rng, 5, len(THING_NAMES))) == 5


def small_denoiser() -> Denoiser:
    return Denoiser(Config(widths=(64, 64, 64), encoder_blocks=(1, 1), decoder_blocks=(1, 1), coarse_blocks=2)).eval()


def test_queries_are_gathered_while_noise_becomes_a_clip() -> None:
    denoiser, seen = small_denoiser(), []

    def forward(latents: torch.Tensor, timestep: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen.append((float(timestep[0] / 1000), float(latents.std())))
        for attention in cross_attentions(denoiser):
            attention(torch.full((1, 4, 64), float(timestep[0])), torch.zeros(1, 2, WIDTH))
        # Clips of zeros: the latents are the noise, times its level.
        return latents / (timestep[:, None, None, None, None] / 1000)

    denoiser.forward = forward
    queries = gather_queries(denoiser, torch.zeros(2, 3, WIDTH), torch.Generator().manual_seed(0))
    levels = [level for level, _ in seen]
    assert levels == sorted(levels, reverse=True)
    assert (len(seen), levels[0]) == (8, 1)
    assert all(abs(deviation - level) < 0.02 for level, deviation in seen)
    assert [found.shape for found in queries] == [(32, 64)] * 3
    assert {round(value, 3) for value in queries[0][:, 0].tolist()} == {round(1000 * level, 3) for level in levels}


def test_the_same_reading_is_no_distance_away_and_another_one_is() -> None:
    torch.manual_seed(0)
    denoiser = small_denoiser()
    for attention in cross_attentions(denoiser):
        torch.nn.init.normal_(attention.out.weight, std=0.1)
    draws = torch.Generator().manual_seed(0)
    embeds, others = torch.randn(4, 32, WIDTH, generator=draws), torch.randn(4, 32, WIDTH, generator=draws)
    queries = gather_queries(denoiser, embeds, draws)
    assert [len(found) for found in queries] == [min(QUERIES, len(found)) for found in queries]
    assert len(queries) == 3
    reader = Reader(denoiser, queries, denoiser.planner)
    read = reader(embeds, torch.arange(8))
    same, apart = distances(read, reader(embeds, torch.arange(8))), distances(read, reader(others, torch.arange(8)))
    assert all(same[part] == 0 for part in ("words", "summary", "poses"))
    assert all(apart[part] > 0.5 for part in ("words", "summary"))
    # Padding is no part of what is read.
    longer = torch.cat([embeds, torch.zeros(4, 5, WIDTH)], 1)
    assert all(value < 1e-9 for value in distances(reader(longer, torch.arange(8)), read).values())


@pytest.mark.parametrize(("slips", "least"), [(0, 0.95), (1, 0.9)])
def test_the_bundle_finds_the_thing_in_other_words(tokenizer: Tokenizer, slips: int, least: float) -> None:
    encoder, planner = load_bundled_encoder(HERE / "reel-tiny"), load_denoiser(HERE / "reel-tiny").planner
    rng = np.random.default_rng(4)
    specs = [Spec(name, str(rng.choice(SCENE_NAMES)), str(rng.choice(MOTION_NAMES)), str(rng.choice(STYLE_NAMES)), 0) for name in THING_NAMES * 6]
    prompts = [prompt(spec, rng) for spec in specs]
    for _ in range(slips):
        prompts = [misspell(one, rng) for one in prompts]
    ids, mask = encode(tokenizer, prompts)
    with torch.no_grad():
        found = planner.thing(encoder(ids, mask)[:, 0]).argmax(1)
    right = [THING_NAMES[index - 1] == spec.thing for index, spec in zip(found.tolist(), specs, strict=True)]
    assert np.mean(right) > least


def test_a_share_off_is_one_where_all_prompts_read_alike() -> None:
    wanted = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert share_off(wanted, wanted) == 0
    assert torch.isclose(share_off(wanted.mean(0).expand(6, -1), wanted), torch.tensor(1.0))


def test_samples_hold_plain_captions_nothing_and_prompts(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(2)
    said = [sample(rng) for _ in range(400)]
    kinds = Counter("nothing" if one.prompt == "" else "plain" if one.prompt == one.plain else "other" for one in said)
    assert kinds["other"] > kinds["plain"] > kinds["nothing"] > 0
    ids, mask = encode(tokenizer, [one.prompt for one in said])
    assert ids.shape == mask.shape == (400, int(mask.sum(1).max()))
    assert tokenizer.token_to_id("[UNK]") not in ids[:, 1:].flatten().tolist()


def test_a_name_that_stands_alone_is_one_of_the_things() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(300):
        text, thing = name_alone(rng)
        names = (*WORDS_OF[thing], *lexicon().things[thing])
        assert any(text.endswith(name) for name in names), text
        seen.add(thing)
    assert len(seen) > 150


def test_as_many_letters_go_wrong_as_asked_for() -> None:
    rng = np.random.default_rng(3)
    assert typed("a kangaroo", (1.0,), rng) == "a kangaroo"
    lengths = {len(typed("a kangaroo", (0.0, 0.0, 1.0), rng)) for _ in range(100)}
    assert lengths == {8, 9, 10, 11, 12}


def test_a_mistyped_letter_is_the_key_beside_it() -> None:
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(200):
        typed = mistype("a fox", rng)
        assert len(typed) == 5 and typed[1] == " "
        seen |= {(right, wrong) for right, wrong in zip("a fox", typed, strict=True) if right != wrong}
    assert seen == {("a", "s"), ("f", "d"), ("f", "g"), ("o", "i"), ("o", "p"), ("x", "z"), ("x", "c")}
    assert mistype("", rng) == "" and mistype("4 ?", rng) == "4 ?"
