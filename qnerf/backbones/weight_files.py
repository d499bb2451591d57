"""Files of weights as people have them on their disk: which file of a folder is read, and what a file's header says of its tensors.

Needs no torch: a safetensors file begins with the length of a JSON header that has every tensor's name, type and shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qnerf.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]

PICKLED = (".bin", ".ckpt", ".pt", ".pth")
STEMS = ("diffusion_pytorch_model", "model")  # of diffusers' parts, and of transformers' text encoders
_LFS = b"version https://git-lfs"
_LARGEST_HEADER = 100_000_000  # bytes, as in the safetensors library


def weights_of(folder: Path) -> tuple[list[Path], str | None]:
    """The files that hold the weights of a part, such as `unet/`, and diffusers' name of their variant: one file or the shards
    of an index; plain ones, or those of `variant=fp16`.

    Raises UserError where there are none, saying what there is instead.
    """
    for variant in (None, "fp16"):
        for stem in STEMS:
            ends = ".safetensors" if variant is None else f".{variant}.safetensors"
            single = folder / f"{stem}{ends}"
            if single.exists():
                return [single], variant
            index = folder / (f"{stem}.safetensors.index.json" if variant is None else f"{stem}.safetensors.index.{variant}.json")
            if index.exists():
                shards = _shards(index)
                missing = [name for name in shards if not (folder / name).exists()]
                if missing or not shards:
                    raise UserError(f"{index} names {', '.join(missing) or 'no files'}, which are not there: download them again.")
                return [folder / name for name in shards], variant
    pickled = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLED)
    if pickled:
        raise UserError(
            f"{folder} has its weights in {pickled[0]} alone, a pickled file, which can run any program and is "
            "not read: convert it "
            f"with `qnerf weights import {folder / pickled[0]} {folder}`, or download {STEMS[0]}.safetensors."
        )
    others = ", ".join(sorted(p.name for p in folder.glob("*.safetensors"))[:3])
    raise UserError(
        f"{folder} has no weights: expected {STEMS[0]}.safetensors (model.safetensors of a text encoder), its "
        ".fp16 variant or an "
        f"index of shards{f', found {others}' if others else ''}: download them."
    )


def _shards(index: Path) -> list[str]:
    """The names of the files that an index of shards lists."""
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index} is no index of shards, which has the file of every tensor in weight_map: download it again.")
    return sorted(set(places.values()))


def shapes_of(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors by name. Raises UserError for a file that is not whole, or none of safetensors."""
    return {name: shape for path in files for name, shape in file_shapes(path).items()}


def file_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of one file's tensors by name."""
    header = _header(path)
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS))
            if start == _LFS:
                raise UserError(
                    f"{path} is a git-lfs pointer, a note of {path.stat().st_size} bytes in the file's place: "
                    "fetch the file itself "
                    "(`git lfs pull`, or download it again)."
                )
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= _LARGEST_HEADER else None
        if not isinstance(header, dict):
            raise ValueError
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): correct the path or its permissions.") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{path} is not a safetensors file, or a damaged one: download it again.") from None
    found, expected = path.stat().st_size, 8 + length + max(ends, default=0)
    if found != expected:
        raise UserError(f"{path} has {found} bytes, expected {expected}: it is not whole; download it again.")
    return header


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's object. Raises UserError where it is missing, a git-lfs pointer, or something else."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if not text.startswith(_LFS.decode()) else None
    except FileNotFoundError:
        raise UserError(f"{path} is missing: download it, or give a folder in diffusers' layout.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}): download it again.") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a JSON object, or a git-lfs pointer in its place: download it again.")
    return found
