"""Prompts as people write them, about clips that the small world can show.

`captions.py` says it in the words that the denoiser was trained on. Here are the many others: kinds and near relatives of
things, verbs in all their forms, other names of places and styles, and what means nothing here (praise, cameras, hats).
The words are in `lexicon.json`, written for this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from .captions import (
    MOTION_WORDS,
    SCENE_NOUNS,
    SCENE_PLACES,
    STYLE_NOUNS,
    STYLE_TAILS,
    Rng,
    arrange,
    pick,
    plain_caption,
    plain_motions,
    plain_styles,
    restyle_caption,
    with_article,
)
from .render import Spec
from .sampling import sample_spec
from .things import THING_NAMES, THINGS

# Share of prompts about somebody or something that is not known, beside those that name a scene alone.
UNKNOWN = 0.07
# Between somebody who is not known and a thing that is.
COMPANY = ("with", "and", "holding", "watching", "riding", "walking", "playing with", "on", "in front of")
OWNERS = ("his", "her", "their", "its", "my")
# Between the thing that a prompt is about and another.
BESIDE = (
    *("with", "with", "and", "holding", "carrying", "riding", "riding on", "on", "next to", "beside", "near", "under", "behind", "in front of"),
    *("wearing", "eating", "chasing", "watching", "playing with", "followed by", "looking at", "on top of"),
)
ORDERS = {"swapped": 0.14, "placed": 0.18, "listed": 0.12}
WORDS_OF = {thing.name: thing.words for thing in THINGS}


@dataclass(frozen=True)
class Lexicon:
    """`lexicon.json`: by name of thing, scene, motion or style, and what says nothing that is drawn."""

    things: dict[str, list[str]]
    # Whom and what nothing here can draw.
    people: list[str]
    unknown: list[str]
    places: dict[str, list[str]]
    scene_nouns: dict[str, list[str]]
    # Forms of a verb: "soar", "soars", "soaring", "soared".
    motions: dict[str, list[list[str]]]
    style_nouns: dict[str, list[str]]
    style_tails: dict[str, list[str]]
    style_orders: dict[str, list[str]]
    adjectives: list[str]
    adverbs: list[str]
    quality: list[str]
    leads: list[str]
    extras: list[str]
    glue: list[str]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    return Lexicon(**json.loads((Path(__file__).parent / "lexicon.json").read_text()))


def meanings() -> Iterator[tuple[str, str]]:
    """Phrases of the lexicon, each beside the words of plain captions that mean the same; beside nothing where it means nothing here."""
    words = lexicon()
    verbs = {name: [form for forms in listed for form in forms] for name, listed in words.motions.items()}
    plainly = (
        (words.things, {}),
        (words.places, {}),
        (words.scene_nouns, {}),
        (verbs, {"still": "", **plain_motions()}),
        *((part, plain_styles()) for part in (words.style_nouns, words.style_tails, words.style_orders)),
    )
    for part, plain in plainly:
        yield from ((phrase, plain.get(name, name)) for name, phrases in part.items() for phrase in phrases)
    yield from ((phrase, "") for part in (words.adjectives, words.adverbs, words.quality, words.leads, words.extras, words.glue, COMPANY, BESIDE) for phrase in part)


@dataclass(frozen=True)
class Said:
    """A prompt, the plain caption of what it means, and the clip that it means where it means one."""

    prompt: str
    plain: str
    spec: Spec | None = None


def _either(known: Sequence[str], further: Sequence[str], rng: Rng) -> str:
    """In the words of captions, or mostly in others."""
    return pick(known if rng.random() < 0.3 else further, rng)


def _noun(names: Sequence[str], rng: Rng) -> str:
    """With an article, mostly, and now and then with adjectives."""
    adjectives = [pick(lexicon().adjectives, rng) for _ in range(int(rng.choice(3, p=(0.6, 0.3, 0.1))))]
    phrase = " ".join((*adjectives, pick(names, rng)))
    how = rng.random()
    if how < 0.72:
        return with_article(phrase)
    return phrase if how < 0.87 else f"{pick(('the', 'my', 'this', 'one', 'our'), rng)} {phrase}"


def _names(name: str, rng: Rng) -> Sequence[str]:
    how = rng.random()
    return (name,) if how < 0.2 else WORDS_OF[name] if how < 0.4 else lexicon().things[name]


def _thing(name: str, rng: Rng) -> str:
    return _noun(_names(name, rng), rng)


def _unknown(rng: Rng) -> str:
    """Somebody or something that can't be drawn; people more often."""
    words = lexicon()
    return _noun(words.people if rng.random() < 0.4 else [*words.people, *words.unknown], rng)


def _moving(motion: str, rng: Rng) -> str:
    if motion == "still" and rng.random() < 0.6:
        return ""
    if rng.random() < 0.2 and motion not in ("left", "right"):
        moving = pick(MOTION_WORDS[motion], rng)
    else:
        base, third, ing, past = lexicon().motions[motion][int(rng.integers(len(lexicon().motions[motion])))]
        moving = pick((ing, ing, f"is {ing}", f"that is {ing}", third, third, f"that {third}", past, base), rng)
    if rng.random() < 0.2:
        return f"{moving} {pick(lexicon().adverbs, rng)}"
    return moving


def _place(scene: str, rng: Rng) -> str:
    if scene == "plain" and rng.random() < 0.8:
        return ""
    return _either(SCENE_PLACES[scene], lexicon().places[scene], rng)


def _subject(spec: Spec, rng: Rng) -> str:
    words = lexicon()
    if spec.thing is None:
        if rng.random() < 0.3:
            return _either(SCENE_NOUNS[spec.scene], words.scene_nouns[spec.scene], rng)
        moving = _moving(pick(tuple(MOTION_WORDS), rng), rng)
        return arrange(_unknown(rng), moving, _place(spec.scene, rng), rng, **ORDERS)
    thing, moving, place = _thing(spec.thing, rng), _moving(spec.motion, rng), _place(spec.scene, rng)
    if rng.random() < 0.07:
        theirs = thing if rng.random() < 0.5 else f"{pick(OWNERS, rng)} {pick(_names(spec.thing, rng), rng)}"
        thing = f"{_unknown(rng)} {pick(COMPANY, rng)} {theirs}"
    if rng.random() < 0.3:
        extra = pick(words.extras, rng) if rng.random() < 0.5 else f"{pick(BESIDE, rng)} {_thing(pick(THING_NAMES, rng), rng)}"
        if rng.random() < 0.5:
            thing = f"{thing} {extra}"
        elif moving or not place:
            moving = f"{moving} {extra}".lstrip()
        else:
            place = f"{place} {extra}"
    return arrange(thing, moving, place, rng, **ORDERS)


def _in_style(subject: str, style: str, rng: Rng) -> str:
    words = lexicon()
    if style == "none":
        return subject
    how = rng.random()
    if how < 0.45:
        return f"{_either(STYLE_NOUNS[style], words.style_nouns[style], rng)} of {subject}"
    tail = _either(STYLE_TAILS[style], words.style_tails[style], rng)
    if how < 0.52:
        return f"{tail}{pick((' ', ', ', ': '), rng)}{subject}"
    return f"{subject}{pick((', ', ' '), rng)}{tail}"


def prompt(spec: Spec, rng: Rng) -> str:
    """What the clip of `spec` shows, as one of many people would ask for it."""
    words = lexicon()
    text = _in_style(_subject(spec, rng), spec.style, rng)
    if rng.random() < 0.15:
        text = f"{pick(words.leads, rng)} {text}"
    for _ in range(int(rng.choice(4, p=(0.65, 0.15, 0.1, 0.1)))):
        phrase = pick(words.quality, rng)
        text = f"{phrase}{pick((', ', ' '), rng)}{text}" if rng.random() < 0.2 else f"{text}, {phrase}"
    if rng.random() < 0.15:
        parts = text.split()
        parts.insert(int(rng.integers(len(parts) + 1)), pick(words.glue, rng))
        text = " ".join(parts)
    return f"{text}{pick(('.', '!', '...'), rng)}" if rng.random() < 0.15 else text


def name_alone(rng: Rng) -> tuple[str, str]:
    """Any of the names that things go by, each as likely, and the thing that it means."""
    named = _all_names()
    thing, name = named[int(rng.integers(len(named)))]
    return _noun((name,), rng), thing


@lru_cache(maxsize=1)
def _all_names() -> list[tuple[str, str]]:
    return [(thing, name) for thing in THING_NAMES for name in dict.fromkeys((*WORDS_OF[thing], *lexicon().things[thing]))]


def restyle_prompt(style: str, rng: Rng) -> str:
    """What to turn a source clip into, by its style alone."""
    words = lexicon()
    if rng.random() < 0.3:
        return restyle_caption(None, style, rng)
    text = pick(pick((words.style_orders, words.style_nouns, words.style_tails), rng)[style], rng)
    return text.removeprefix("a ") if rng.random() < 0.15 else text


def sample_said(rng: Rng) -> Said:
    """A prompt about a random clip, or about nothing but a style."""
    spec = sample_spec(rng, held_out=None, styled=0.45)
    if rng.random() < UNKNOWN:
        spec = replace(spec, thing=None, motion="still")
    if rng.random() < 0.25:
        spec = replace(spec, scene="plain")
    if spec.style != "none" and rng.random() < 0.12:
        return Said(restyle_prompt(spec.style, rng), STYLE_NOUNS[spec.style][0])
    return Said(prompt(spec, rng), plain_caption(spec), spec)
