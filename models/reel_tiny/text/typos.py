"""Prompts as hurried fingers write them."""

from __future__ import annotations

import numpy as np

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def misspell(text: str, rng: np.random.Generator) -> str:
    """Drops, doubles or swaps one letter."""
    if len(text) < 4:
        return text
    at = int(rng.integers(1, len(text) - 1))
    change = int(rng.integers(3))
    if change == 0:
        return text[:at] + text[at + 1 :]
    if change == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def mistype(text: str, rng: np.random.Generator) -> str:
    """Hits the key beside one letter's."""
    letters = [(at, row, row.index(letter)) for at, letter in enumerate(text) for row in KEYS if letter in row]
    if not letters:
        return text
    at, row, key = letters[int(rng.integers(len(letters)))]
    beside = row[max(0, key - 1) : key] + row[key + 1 : key + 2]
    return text[:at] + beside[int(rng.integers(len(beside)))] + text[at + 1 :]


def typed(text: str, slips: tuple[float, ...], rng: np.random.Generator) -> str:
    """With as many letters wrong as `slips` says, by how likely none, one, two, ... are; one in four is a key beside the right one."""
    for _ in range(int(rng.choice(len(slips), p=slips))):
        text = (mistype if rng.random() < 0.25 else misspell)(text, rng)
    return text
