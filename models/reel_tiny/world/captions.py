"""Captions for the small world: a grammar with synonyms, reorderings and omissions.

`caption(spec, rng)` says in words what a clip shows; `restyle_caption(spec, rng)` what a source clip should be turned
into. What a caption leaves out has one meaning: no scene is a plain backdrop, no motion is standing still, no style is
the picture as it is, and a thing that walks or drives goes left, where most of the pictures look. So a short prompt is a
clear one. `plain_caption(spec)` says it in the one way that is plainest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .render import Spec
from .things import THINGS

Rng = np.random.Generator

SCENE_PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("on a beach", "on the beach", "at the beach", "on a sandy beach", "on the sand", "at the seaside"),
    "sea": ("in the sea", "under water", "underwater", "in the ocean", "under the sea", "deep in the ocean"),
    "night sky": ("in the night sky", "under the stars", "under the moon", "in a starry night", "in the moonlight"),
    "forest": ("in a forest", "in the forest", "in the woods", "among trees", "in front of trees"),
    "snow": ("in the snow", "in snow", "in winter", "on a snowy hill", "in a snowy landscape"),
    "desert": ("in a desert", "in the desert", "among sand dunes", "near a cactus"),
    "city": ("in a city", "in the city", "on a street", "on the road", "in town", "in front of buildings"),
    "space": ("in space", "in outer space", "among the planets", "near a planet", "in the galaxy"),
    "meadow": ("in a meadow", "on a meadow", "on the grass", "in a field", "in a garden", "in a park"),
    "sunset": ("at sunset", "in front of a sunset", "in the evening", "in front of the setting sun", "at dusk"),
    "plain": ("on a plain background", "on a simple background", "in a studio"),
    "mountains": ("in the mountains", "on a mountain", "in front of mountains", "by a mountain lake", "in the alps"),
    "volcano": ("near a volcano", "at a volcano", "in front of a volcano", "by the lava", "near the lava", "on a volcano"),
    "rain": ("in the rain", "in rain", "on a rainy day", "in a rainstorm", "in the pouring rain", "in a storm"),
    "clouds": ("in the clouds", "above the clouds", "among the clouds", "in the sky", "high in the blue sky"),
    "aurora": ("under the aurora", "under the northern lights", "at the north pole", "in the arctic", "in front of the northern lights"),
    "room": ("in a room", "in the room", "at home", "in a living room", "in the living room", "indoors", "by the window"),
    "stage": ("on a stage", "on stage", "on the stage", "in a theater", "in a theatre", "in the spotlight", "at a show"),
    "candy land": ("in candy land", "in a candy land", "in a land of candy", "in a world of sweets", "among lollipops"),
}
SCENE_NOUNS: dict[str, tuple[str, ...]] = {
    "beach": ("a beach", "a sandy beach", "the seaside"),
    "sea": ("the sea", "the ocean", "an underwater scene"),
    "night sky": ("the night sky", "a starry night", "the moon and the stars"),
    "forest": ("a forest", "the woods", "trees"),
    "snow": ("snow", "a snowy landscape", "winter"),
    "desert": ("a desert", "sand dunes", "the desert"),
    "city": ("a city", "a street", "buildings"),
    "space": ("space", "outer space", "a planet"),
    "meadow": ("a meadow", "a field of flowers", "a garden"),
    "sunset": ("a sunset", "the sunset", "the setting sun"),
    "plain": ("a plain background", "a simple background"),
    "mountains": ("mountains", "snowy mountains", "a mountain lake", "the alps"),
    "volcano": ("a volcano", "an erupting volcano", "lava"),
    "rain": ("rain", "a rainy day", "a rainstorm", "the rain"),
    "clouds": ("clouds", "the clouds", "the sky", "a blue sky"),
    "aurora": ("the aurora", "the northern lights", "the north pole", "an aurora"),
    "room": ("a room", "a living room", "a room with a window"),
    "stage": ("a stage", "an empty stage", "a theater", "a theatre"),
    "candy land": ("a candy land", "a land of candy", "a world of sweets"),
}
WAYS = ("moving", "going", "walking", "running", "flying", "sliding", "driving", "swimming", "drifting")
MOTION_WORDS: dict[str, tuple[str, ...]] = {
    "still": ("standing still", "standing", "sitting", "resting", "waiting"),
    "left": ("left", "to the left", "from right to left"),
    "right": ("right", "to the right", "from left to right"),
    "up": ("rising", "flying", "flying up", "moving up", "going up", "floating up", "taking off", "moving upwards"),
    "down": ("falling", "falling down", "moving down", "going down", "sinking", "dropping", "landing", "flying down"),
    "bouncing": ("bouncing", "jumping", "hopping", "bouncing up and down", "jumping up and down"),
    "spinning": ("spinning", "rotating", "turning around", "spinning around", "rolling", "twirling"),
    "growing": ("growing", "getting bigger", "coming closer", "growing larger", "approaching"),
    "shrinking": ("shrinking", "getting smaller", "going away", "shrinking away"),
}
STYLE_NOUNS: dict[str, tuple[str, ...]] = {
    "pencil": ("a pencil sketch", "a pencil drawing", "a sketch", "a drawing", "a black and white drawing"),
    "watercolor": ("a watercolor", "a watercolor painting", "a watercolour", "a watercolour painting", "a painting"),
    "comic": ("a comic", "a comic book picture", "a cartoon", "a comic book drawing", "a cartoon drawing"),
    "pixel": ("pixel art", "a pixel art picture", "an 8-bit video game", "a retro video game", "a pixelated picture"),
    "neon": ("a neon sign", "neon lights", "a neon picture", "glowing neon", "neon art"),
    "sepia": ("an old photo", "a sepia photo", "a vintage photo", "an old film", "an old brown photograph"),
    "night": ("a night picture", "a night scene", "a picture in the dark", "a dark night view"),
    "thermal": ("a thermal image", "an infrared picture", "a heat map", "a thermal camera picture", "thermal vision"),
}
STYLE_TAILS: dict[str, tuple[str, ...]] = {
    "pencil": ("in pencil", "pencil sketch", "sketched", "drawn with a pencil", "pencil style"),
    "watercolor": ("in watercolor", "watercolor", "watercolour", "painted", "watercolor style"),
    "comic": ("in comic style", "comic book style", "cartoon style", "comic", "cartoon"),
    "pixel": ("in pixel art", "pixel art", "8-bit", "pixel art style", "pixelated"),
    "neon": ("in neon", "neon", "neon style", "in neon lights", "glowing neon"),
    "sepia": ("in sepia", "sepia", "old photo style", "vintage", "like an old film"),
    "night": ("at night", "by night", "in the dark", "night"),
    "thermal": ("thermal", "infrared", "in infrared", "thermal camera", "heat vision"),
}
FLUFF = ("cute ", "little ", "happy ", "funny ", "nice ", "beautiful ", "friendly ")
# Last words of what is said with "some" in place of "a": plurals, and what is not counted.
SOME = {
    *("grapes", "cherries", "fries", "chips", "blueberries", "peanuts", "pancakes", "skis", "bubbles", "headphones", "glasses", "sunglasses", "jeans", "gloves"),
    *("mittens", "socks", "scissors", "books", "bills", "banknotes", "swords", "masks", "lips", "prints", "bricks", "lights", "corn", "bread", "butter"),
    *("bacon", "salad", "spaghetti", "ramen", "sushi", "honey", "coffee", "beer", "wine", "milk", "juice", "tea", "salt", "garlic", "wheat", "soap", "chocolate"),
}
# Said with "a" all the same, as they begin with a "you"; and with "an", as their first letter is silent.
CONSONANTAL = ("unicorn", "ufo", "ukulele", "university", "used")
SILENT = ("hour",)
LEADS = ("a video of ", "a clip of ", "an animation of ", "a picture of ")


def pick(options: Sequence[str], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]


def with_article(phrase: str, the: bool = False) -> str:
    if the:
        return f"the {phrase}"
    if phrase.split()[-1] in SOME and " of " not in phrase:
        return f"some {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith(CONSONANTAL) or phrase.startswith(SILENT) else 'a'} {phrase}"


def _noun(name: str, before: str, rng: Rng) -> str:
    thing = next(thing for thing in THINGS if thing.name == name)
    word = thing.name if rng.random() < 0.6 else pick(thing.words, rng)
    phrase = before + (pick(FLUFF, rng) if rng.random() < 0.12 else "") + word
    the = rng.random() < 0.1
    return phrase if rng.random() < 0.12 else with_article(phrase, the)


def _moving(motion: str, rng: Rng) -> str:
    if motion == "still":
        return pick(MOTION_WORDS["still"], rng) if rng.random() < 0.2 else ""
    if motion == "left" and rng.random() < 0.25:
        return pick(("walking", "running", "driving", "swimming", "moving"), rng)
    if motion in ("left", "right"):
        return f"{pick(WAYS, rng)} {pick(MOTION_WORDS[motion], rng)}"
    return pick(MOTION_WORDS[motion], rng)


def _scene_part(scene: str, style: str, rng: Rng) -> str:
    if scene == "plain":
        return pick(SCENE_PLACES["plain"], rng) if rng.random() < 0.15 else ""
    if scene == "night sky" and style == "none" and rng.random() < 0.2:
        return "at night"
    return pick(SCENE_PLACES[scene], rng)


def _in_style(subject: str, spec: Spec, style: str, rng: Rng) -> str:
    if style == "none":
        return (pick(LEADS, rng) if rng.random() < 0.08 else "") + subject
    if rng.random() < 0.55:
        return f"{pick(STYLE_NOUNS[style], rng)} of {subject}"
    # With no scene named, "at night" means the night sky.
    tails = STYLE_TAILS[style][2:] if style == "night" and spec.scene == "plain" else STYLE_TAILS[style]
    return f"{subject}{pick((', ', ' '), rng)}{pick(tails, rng)}"


def arrange(thing: str, moving: str, place: str, rng: Rng, *, swapped: float, placed: float, listed: float) -> str:
    """The parts that are said: in this order, or with the place before what the thing does or before the thing, with these shares; or with commas."""
    order, commas = rng.random(), rng.random() < listed
    if order >= 1 - placed:
        parts = (f"{place}," if place and not commas else place, thing, moving)
    else:
        parts = (thing, moving, place) if order < 1 - placed - swapped else (thing, place, moving)
    return (", " if commas else " ").join(part for part in parts if part)


def _subject(spec: Spec, rng: Rng) -> str:
    if spec.thing is None:
        return pick(SCENE_NOUNS[spec.scene], rng) if rng.random() < 0.75 else spec.scene
    moving, place = _moving(spec.motion, rng), _scene_part(spec.scene, spec.style, rng)
    if moving.endswith("ing") and " " not in moving and rng.random() < 0.2:
        thing, moving = _noun(spec.thing, f"{moving} ", rng), ""
    else:
        thing = _noun(spec.thing, "", rng)
    return arrange(thing, moving, place, rng, swapped=0.18, placed=0.12, listed=0.06)


def plain_motions() -> dict[str, str]:
    """The plainest words for each motion but standing still, which is left unsaid."""
    return {name: f"moving {name}" if name in ("left", "right") else words[0] for name, words in MOTION_WORDS.items() if name != "still"}


def plain_styles() -> dict[str, str]:
    """The plainest words for each style, without an article."""
    return {name: nouns[0].removeprefix("a ").removeprefix("an ") for name, nouns in STYLE_NOUNS.items()}


def plain_caption(spec: Spec) -> str:
    """What the clip of `spec` shows, in the first words for each part and the usual order."""
    if spec.thing is None:
        subject = SCENE_NOUNS[spec.scene][0]
    else:
        way = plain_motions().get(spec.motion, "")
        place = "" if spec.scene == "plain" else SCENE_PLACES[spec.scene][0]
        subject = " ".join(part for part in (with_article(spec.thing), way, place) if part)
    return subject if spec.style == "none" else f"{STYLE_NOUNS[spec.style][0]} of {subject}"


def caption(spec: Spec, rng: Rng) -> str:
    """What the clip of `spec` shows, in words."""
    return _in_style(_subject(spec, rng), spec, spec.style, rng)


def restyle_caption(spec: Spec | None, style: str, rng: Rng) -> str:
    """What to turn a source clip into: mostly the style alone, sometimes with what the source shows (`spec`)."""
    if spec is not None and rng.random() < 0.3:
        return _in_style(_subject(spec, rng), spec, style, rng)
    words = pick(STYLE_NOUNS[style], rng) if rng.random() < 0.6 else pick(STYLE_TAILS[style], rng)
    return words.removeprefix("a ") if rng.random() < 0.15 else words
