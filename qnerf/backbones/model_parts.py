"""A model's autoencoder and tokenizer on the disk, wherever they are, and what is wrong with them. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnerf.backbones.part_configs import part_config, part_shapes
from qnerf.backbones.places import find_place
from qnerf.backbones.single_file import kind_of_file, vae_config, with_article
from qnerf.backbones.weight_files import file_shapes, read_object
from qnerf.errors import UserError

TOKENIZERS = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "openai/clip-vit-large-patch14")
"""Models whose tokenizer, if it is in the hub's cache, serves a model in one file. All of CLIP's and OpenCLIP's are one."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on the disk. place: a folder in diffusers' layout, or a single file. schedule: complete (`complete_schedule`).
    vae_place: folder or file of the autoencoder, whose config is `vae`, and vae_key the setting that names it. pad: the
    tokenizer's padding, where not its own."""

    place: Path
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    schedule: dict[str, Any]
    tokenizer: Path
    vae_place: Path
    vae_key: str = "backbone.model"
    pad: str | None = None


@dataclass(frozen=True)
class NetFiles:
    """A ControlNet on the disk: a folder of diffusers, or a single file. key: the setting that names it."""

    place: Path
    config: dict[str, Any]
    key: str


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """Errors inside it name this setting, unless they name one already."""
    try:
        yield
    except UserError as error:
        raise UserError(with_key(key, str(error))) from error


def with_key(key: str, problem: str) -> str:
    return problem if problem.startswith("backbone.") else f"{key}: {problem}"


def place_of_vae(name: str) -> Path:
    """Where `backbone.vae` is. Raises UserError where it is not."""
    with keyed("backbone.vae"):
        place = find_place(name)
    if place is None:
        raise UserError(
            f"backbone.vae: {name!r} is neither a folder, a file, nor in the Hugging Face cache: give a folder or file."
        )
    return place


def config_of_vae(place: Path) -> dict[str, Any]:
    """The config of an autoencoder in a folder or a file whose weights are whole; UserError otherwise."""
    if place.is_file():
        shapes = file_shapes(place)
        if any(name.startswith("encoder.down_blocks.") for name in shapes):
            raise UserError(f"backbone.vae: {place} has the names of diffusers' layout: give its folder, with config.json.")
        if kind_of_file(shapes) not in ("vae", "model"):
            kind = with_article(kind_of_file(shapes))
            raise UserError(f"backbone.vae: {place} is {kind}, expected an autoencoder: give another file.")
        return vae_config(shapes)
    config = part_config(place, "vae")
    part_shapes(place, "vae")
    return config


def tokenizer_problems(folder: Path, text: dict[str, Any] | None) -> list[str]:
    """Without its files transformers makes a tokenizer of two words, to which all prompts are alike."""
    needed = [] if (folder / "tokenizer.json").is_file() else ["vocab.json", "merges.txt"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        return [f"{folder} has no {' and no '.join(missing)}, without which all prompts are alike: download the tokenizer."]
    try:
        document = read_object(folder / ("vocab.json" if needed else "tokenizer.json"))
        words = len(document if needed else document["model"]["vocab"])
    except (UserError, KeyError, TypeError) as error:
        return [str(error) if isinstance(error, UserError) else f"{folder}/tokenizer.json has no vocabulary: download it again."]
    known = text.get("vocab_size", words) if text else words
    if words > known or 2 * words < known:
        return [f"{folder} has {words} tokens, but the text encoder {known}: the two do not belong together; download both again."]
    return _merge_problems(folder / "merges.txt", document) if needed else []


def _merge_problems(path: Path, vocabulary: dict[str, Any]) -> list[str]:
    """Every token of more than a letter is made by a merge, but for the two ends of a text; a few may have been added by hand."""
    made = sum(len(token.removesuffix("</w>")) > 1 for token in vocabulary) - 2
    merges = len(path.read_text(encoding="utf-8", errors="replace").splitlines()) - 1  # the first line is the version
    if merges >= 0.99 * made:
        return []
    return [
        f"{path} has {max(merges, 0)} merges for {made} tokens, so that words are read in pieces: download the tokenizer again."
    ]


def tokenizer_folder(place: Path, given: str | None) -> Path:
    """The tokenizer of a model in one file: the given one, or one from the hub's cache. Raises UserError where there is none."""
    names = (given,) if given else TOKENIZERS
    for name in names:
        with keyed("backbone.tokenizer"):
            found = find_place(name)
        if found is not None:
            return found / "tokenizer" if (found / "tokenizer").is_dir() else found
    raise UserError(
        f"backbone.tokenizer: {place} is a single file, which has no tokenizer, and none is in the hub's cache: "
        "give the folder of "
        "CLIP's (vocab.json and merges.txt), such as the tokenizer/ of any Stable Diffusion model, or set "
        "backbone.download=true."
    )
