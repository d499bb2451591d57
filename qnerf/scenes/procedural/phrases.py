"""Captions of world 2: several ways to say the same for each kind of object, all in words of one vocabulary."""

from __future__ import annotations

import string

import numpy as np

from qnerf.scenes.procedural.captions import COLOURS, SKINS, VOCABULARY
from qnerf.scenes.procedural.surroundings import TEXTURES

# At most 28 words each with the name of a texture: 30 tokens fit between the two special ones. The last names no surroundings.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "figure": (
        "a {noun} with {skin} skin in a {shirt} shirt and {trousers} trousers on a {floor} floor before a {background} background",
        "a {noun} with {skin} skin in {trousers} trousers and a {shirt} shirt on a {floor} floor in front of a {background} wall",
        "on a {floor} floor before a {background} wall stands a {noun} in {trousers} trousers and a {shirt} shirt with {skin} skin",
        "a {skin} skin {noun} in a {shirt} shirt and {trousers} trousers",
    ),
    "lamp": (
        "a desk {noun} with a {shade} shade {arms} arms and a {base} base on a {floor} floor before a {background} background",
        "a {shade} desk {noun} with {arms} arms standing on a {base} base on a {floor} floor in front of a {background} wall",
        "on a {floor} floor before a {background} wall stands a desk {noun} its shade {shade} its arms {arms} its base {base}",
        "a {noun} with a {shade} shade {arms} arms and a {base} base",
    ),
    "seat": (
        "a {cover} {noun} with {cushions} cushions and {legs} legs on a {floor} floor before a {background} background",
        "a {noun} in {cover} fabric with {legs} legs and {cushions} cushions on a {floor} floor in front of a {background} wall",
        "on a {floor} floor before a {background} wall stands a {noun} its cover {cover} its cushions {cushions} its legs {legs}",
        "a {cover} {noun} with {cushions} cushions and {legs} legs",
    ),
    "toy": (
        "a {coat} toy {noun} with {ears} ears and a {collar} collar on a {floor} floor before a {background} background",
        "a toy {noun} in a {coat} coat and a {collar} collar with {ears} ears on a {floor} floor in front of a {background} wall",
        "on a {floor} floor before a {background} wall stands a toy {noun} its coat {coat} its ears {ears} its collar {collar}",
        "a {coat} toy {noun} with {ears} ears and a {collar} collar",
    ),
}  # fmt: skip
NOUNS = ("figure", "person", "lamp", "sofa", "couch", "chair", "armchair", "dog", "cat", "animal")

# The words of each world, all that a model trained on it knows.
WORDS: dict[int, tuple[str, ...]] = {
    1: VOCABULARY,
    2: tuple(sorted({
        *COLOURS, *SKINS, *TEXTURES, *NOUNS, "an",
        *(word for templates in TEMPLATES.values() for text in templates for word in text.split() if "{" not in word),
    })),
}  # fmt: skip


def describe(
    kind: str, nouns: tuple[str, ...], names: dict[str, str], texture: str | None, rng: np.random.Generator
) -> tuple[str, dict[str, str]]:
    """A caption, and the colour names that it tells, by part.

    names: the colour's name for every part of the kind, "floor" and "background". texture: the background's; told or not.
    """
    template, noun = str(rng.choice(TEMPLATES[kind])), str(rng.choice(nouns))
    told = texture is not None and rng.random() < 0.5
    background = f"{texture} {names['background']}" if told else names["background"]
    parts = [field for _, field, _, _ in string.Formatter().parse(template) if field and field != "noun"]
    caption = template.format(**{**names, "noun": noun, "background": background})
    return with_articles(caption), {part: names[part] for part in parts}


def with_articles(caption: str) -> str:
    """The caption with "an" for "a" before a vowel."""
    words = caption.split()
    following = [*words[1:], ""]
    return " ".join("an" if word == "a" and after[:1] in [*"aeiou"] else word for word, after in zip(words, following, strict=True))
