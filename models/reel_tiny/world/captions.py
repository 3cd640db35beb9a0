"""Captions for the small world: a grammar with synonyms, reorderings and omissions.

`caption(spec, rng)` says in words what a clip shows; `restyle_caption(spec, rng)` what a source clip should be turned
into. What a caption leaves out has one meaning: no scene is a plain backdrop, no motion is standing still, no style is
the picture as it is. So a short prompt is a clear one.
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
LEADS = ("a video of ", "a clip of ", "an animation of ", "a picture of ")


def _pick(options: Sequence[str], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]


def _noun(name: str, rng: Rng) -> str:
    thing = next(thing for thing in THINGS if thing.name == name)
    word = thing.name if rng.random() < 0.6 else _pick(thing.words, rng)
    phrase = (_pick(FLUFF, rng) if rng.random() < 0.12 else "") + word
    article = "the" if rng.random() < 0.1 else ("an" if phrase[0] in "aeiou" else "a")
    return phrase if rng.random() < 0.12 else f"{article} {phrase}"


def _moving(motion: str, rng: Rng) -> str:
    if motion == "still":
        return _pick(MOTION_WORDS["still"], rng) if rng.random() < 0.2 else ""
    if motion in ("left", "right"):
        draw = rng.random()
        # Without a direction these words mean either side, so they are kept rare.
        if draw < 0.15:
            return _pick(("walking", "running", "driving", "swimming", "moving"), rng)
        return f"{_pick(WAYS, rng)} {_pick(MOTION_WORDS[motion], rng)}"
    return _pick(MOTION_WORDS[motion], rng)


def _scene_part(scene: str, style: str, rng: Rng) -> str:
    if scene == "plain":
        return _pick(SCENE_PLACES["plain"], rng) if rng.random() < 0.15 else ""
    if scene == "night sky" and style == "none" and rng.random() < 0.2:
        return "at night"
    return _pick(SCENE_PLACES[scene], rng)


def _in_style(subject: str, style: str, rng: Rng) -> str:
    if style == "none":
        return (_pick(LEADS, rng) if rng.random() < 0.08 else "") + subject
    if rng.random() < 0.55:
        return f"{_pick(STYLE_NOUNS[style], rng)} of {subject}"
    return f"{subject}{_pick((', ', ' '), rng)}{_pick(STYLE_TAILS[style], rng)}"


def _subject(spec: Spec, rng: Rng) -> str:
    if spec.thing is None:
        return _pick(SCENE_NOUNS[spec.scene], rng) if rng.random() < 0.75 else spec.scene
    thing, moving, place = _noun(spec.thing, rng), _moving(spec.motion, rng), _scene_part(spec.scene, spec.style, rng)
    order = rng.random()
    parts = (thing, moving, place) if order < 0.7 else (thing, place, moving) if order < 0.88 else (f"{place}," if place else "", thing, moving)
    return " ".join(part for part in parts if part)


def caption(spec: Spec, rng: Rng) -> str:
    """What the clip of `spec` shows, in words."""
    return _in_style(_subject(spec, rng), spec.style, rng)


def restyle_caption(spec: Spec | None, style: str, rng: Rng) -> str:
    """What to turn a source clip into: mostly the style alone, sometimes with what the source shows (`spec`)."""
    if spec is not None and rng.random() < 0.3:
        return _in_style(_subject(spec, rng), style, rng)
    words = _pick(STYLE_NOUNS[style], rng) if rng.random() < 0.6 else _pick(STYLE_TAILS[style], rng)
    return words.removeprefix("a ") if rng.random() < 0.15 else words
