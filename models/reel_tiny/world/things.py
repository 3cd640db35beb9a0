"""The things that reel-tiny can draw, by name.

The pictures are Microsoft's Fluent emoji, rendered in 3D, as packed (MIT) in the npm package
@lobehub/fluent-emoji-3d; the file names there are Unicode code points. Names and synonyms are plain English.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = "@lobehub/fluent-emoji-3d"
PACKAGE_VERSION = "1.1.0"
# Where its pictures lie in the folder that reel_tiny.data.prepare made.
ASSETS = "fluent-emoji-3d/package/assets"


@dataclass(frozen=True)
class Thing:
    """One named picture: `words` are interchangeable in captions, the first is its name."""

    words: tuple[str, ...]
    code_point: str

    @property
    def name(self) -> str:
        return self.words[0]


# New things go to the end: which thing-scene pairs are held out of training follows from the order.
THINGS: tuple[Thing, ...] = (
    Thing(("rocket", "spaceship", "rocket ship"), "1f680"),
    Thing(("fox",), "1f98a"),
    Thing(("chicken", "hen"), "1f414"),
    Thing(("cake", "birthday cake"), "1f382"),
    Thing(("cat", "kitten", "kitty"), "1f408"),
    Thing(("dog", "puppy"), "1f436"),
    Thing(("panda", "panda bear"), "1f43c"),
    Thing(("frog", "toad"), "1f438"),
    Thing(("penguin",), "1f427"),
    Thing(("duck",), "1f986"),
    Thing(("robot", "android"), "1f916"),
    Thing(("ghost", "spirit"), "1f47b"),
    Thing(("balloon", "red balloon"), "1f388"),
    Thing(("fish", "tropical fish"), "1f420"),
    Thing(("octopus", "squid"), "1f419"),
    Thing(("butterfly",), "1f98b"),
    Thing(("car", "red car", "automobile"), "1f697"),
    Thing(("apple", "red apple"), "1f34e"),
    Thing(("dinosaur", "t-rex", "dino"), "1f996"),
    Thing(("mushroom", "toadstool"), "1f344"),
    Thing(("sunflower", "flower"), "1f33b"),
    Thing(("pumpkin", "jack-o-lantern"), "1f383"),
    Thing(("star", "yellow star"), "2b50"),
    Thing(("snowman",), "26c4"),
    Thing(("monkey", "chimp", "chimpanzee"), "1f412"),
    Thing(("wolf",), "1f43a"),
    Thing(("lion",), "1f981"),
    Thing(("tiger",), "1f42f"),
    Thing(("horse", "pony", "brown horse"), "1f40e"),
    Thing(("unicorn",), "1f984"),
    Thing(("zebra",), "1f993"),
    Thing(("cow", "spotted cow"), "1f404"),
    Thing(("pig", "piglet", "piggy"), "1f437"),
    Thing(("sheep", "lamb"), "1f411"),
    Thing(("giraffe",), "1f992"),
    Thing(("elephant",), "1f418"),
    Thing(("mouse", "mousy"), "1f42d"),
    Thing(("rabbit", "bunny", "hare"), "1f430"),
    Thing(("bat", "vampire bat"), "1f987"),
    Thing(("bear", "brown bear", "grizzly"), "1f43b"),
    Thing(("parrot", "macaw"), "1f99c"),
    Thing(("flamingo", "pink flamingo"), "1f9a9"),
    Thing(("owl",), "1f989"),
    Thing(("turtle", "tortoise"), "1f422"),
    Thing(("snake", "serpent"), "1f40d"),
    Thing(("dragon", "green dragon"), "1f432"),
    Thing(("whale", "blue whale"), "1f433"),
    Thing(("shark",), "1f988"),
    Thing(("snail",), "1f40c"),
    Thing(("bee", "bumblebee", "honeybee"), "1f41d"),
    Thing(("ladybug", "ladybird"), "1f41e"),
    Thing(("crab", "red crab"), "1f980"),
    Thing(("jellyfish",), "1fabc"),
    Thing(("smiley", "smiling face", "smiley face"), "1f600"),
    Thing(("cool face", "face with sunglasses", "sunglasses face"), "1f60e"),
    Thing(("angry face", "red angry face", "furious face"), "1f621"),
    Thing(("alien", "martian"), "1f47d"),
    Thing(("skull",), "1f480"),
    Thing(("clown",), "1f921"),
    Thing(("devil", "demon", "imp"), "1f608"),
    Thing(("santa", "santa claus", "father christmas"), "1f385"),
    Thing(("wizard", "magician", "sorcerer"), "1f9d9"),
    Thing(("mermaid",), "1f9dc"),
    Thing(("ninja",), "1f977"),
    Thing(("princess", "queen"), "1f478"),
    Thing(("astronaut", "spaceman", "cosmonaut"), "1f9d1-200d-1f680"),
    Thing(("superhero", "super hero", "hero"), "1f9b8"),
    Thing(("monster", "purple monster", "space invader"), "1f47e"),
    Thing(("taxi", "cab", "yellow taxi"), "1f695"),
    Thing(("bus", "school bus"), "1f68c"),
    Thing(("fire truck", "fire engine", "firetruck"), "1f692"),
    Thing(("tractor", "green tractor"), "1f69c"),
    Thing(("race car", "racing car", "sports car"), "1f3ce-fe0f"),
    Thing(("motorcycle", "motorbike"), "1f3cd-fe0f"),
    Thing(("bicycle", "bike"), "1f6b2"),
    Thing(("train", "steam train", "locomotive"), "1f682"),
    Thing(("airplane", "plane", "aeroplane"), "2708-fe0f"),
    Thing(("helicopter", "chopper"), "1f681"),
    Thing(("ufo", "flying saucer"), "1f6f8"),
    Thing(("sailboat", "sailing boat", "boat"), "26f5"),
    Thing(("ship", "cruise ship", "ferry"), "1f6a2"),
    Thing(("banana", "peeled banana"), "1f34c"),
    Thing(("grapes", "bunch of grapes"), "1f347"),
    Thing(("watermelon", "melon", "slice of watermelon"), "1f349"),
    Thing(("orange", "tangerine"), "1f34a"),
    Thing(("pineapple",), "1f34d"),
    Thing(("cherries", "cherry", "pair of cherries"), "1f352"),
    Thing(("strawberry",), "1f353"),
    Thing(("avocado",), "1f951"),
    Thing(("carrot",), "1f955"),
    Thing(("broccoli",), "1f966"),
    Thing(("cheese", "piece of cheese"), "1f9c0"),
    Thing(("burger", "hamburger", "cheeseburger"), "1f354"),
    Thing(("fries", "french fries", "chips"), "1f35f"),
    Thing(("pizza", "slice of pizza"), "1f355"),
    Thing(("ice cream", "ice cream cone"), "1f366"),
    Thing(("donut", "doughnut"), "1f369"),
    Thing(("lollipop", "lolly"), "1f36d"),
    Thing(("popcorn", "bucket of popcorn"), "1f37f"),
    Thing(("sun", "smiling sun"), "1f31e"),
    Thing(("moon", "crescent moon", "crescent"), "1f319"),
    Thing(("cloud", "white cloud"), "2601-fe0f"),
    Thing(("rainbow",), "1f308"),
    Thing(("fire", "flame", "campfire"), "1f525"),
    Thing(("lightning", "lightning bolt", "thunderbolt"), "26a1"),
    Thing(("earth", "globe", "planet earth"), "1f30d"),
    Thing(("cactus",), "1f335"),
    Thing(("tree", "green tree"), "1f333"),
    Thing(("rose", "red rose"), "1f339"),
    Thing(("castle", "palace"), "1f3f0"),
    Thing(("house", "cottage", "home"), "1f3e0"),
    Thing(("soccer ball", "football"), "26bd"),
    Thing(("basketball",), "1f3c0"),
    Thing(("kite",), "1fa81"),
    Thing(("teddy bear", "teddy"), "1f9f8"),
    Thing(("dice", "die"), "1f3b2"),
    Thing(("guitar", "electric guitar"), "1f3b8"),
    Thing(("drum",), "1f941"),
    Thing(("book", "red book"), "1f4d5"),
    Thing(("alarm clock", "clock"), "23f0"),
    Thing(("gift", "present", "gift box"), "1f381"),
    Thing(("trophy", "golden cup"), "1f3c6"),
    Thing(("diamond", "gem", "jewel"), "1f48e"),
    Thing(("heart", "red heart"), "2764-fe0f"),
    Thing(("umbrella", "parasol"), "2602-fe0f"),
    Thing(("top hat", "hat"), "1f3a9"),
)

THING_NAMES = tuple(thing.name for thing in THINGS)


@lru_cache(maxsize=None)
def sprite(assets: str, name: str) -> np.ndarray:
    """Premultiplied RGBA float32 [S, S, 4] in [0, 1], cropped to a square around the visible part."""
    thing = THINGS[THING_NAMES.index(name)]
    path = Path(assets) / f"{thing.code_point}.webp"
    rgba = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255.0
    ys, xs = np.nonzero(rgba[..., 3] > 0.03)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    cut = rgba[top:bottom, left:right]
    side = max(cut.shape[:2]) + 4
    out = np.zeros((side, side, 4), np.float32)
    y0, x0 = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    out[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]] = cut
    out[..., :3] *= out[..., 3:]
    return out
