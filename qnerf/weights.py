"""Pickled weights made into files that are read: `python -m qnerf.weights import <file> <folder>`.

A pickled file (.bin, .ckpt, .pt, .pth) can run any program when it is read, so no run reads one. Here it is read once, by
PyTorch's reader of plain tensors (`weights_only=True`), which refuses everything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qnerf.backbones.single_file import WIDTHS, kind_of_file
from qnerf.backbones.weight_files import PICKLED, STEMS, file_shapes
from qnerf.common.hashes import checksum
from qnerf.errors import UserError, told_in_a_sentence

USAGE = "Usage: python -m qnerf.weights import <file.ckpt|.pt|.pth|.bin> <folder>"
SEAL = "{}.imported.json"
NAMES = {"diffusion_pytorch_model": STEMS[0], "pytorch_model": STEMS[1]}  # of files in folders of diffusers and transformers


def main(arguments: Sequence[str]) -> int:
    """0: the file is written, and what it holds is said; 2: an error, in one sentence."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    return told_in_a_sentence(lambda: _import(arguments), "give another folder")


def _import(arguments: Sequence[str]) -> int:
    if len(arguments) != 3 or arguments[0] != "import":
        raise UserError(USAGE)
    print(import_weights(Path(arguments[1]).expanduser(), Path(arguments[2]).expanduser()))
    return 0


def import_weights(source: Path, folder: Path) -> str:
    """Writes `<folder>/<name>.safetensors` and beside it a seal with the checksums of both files; says what was found.

    Raises UserError for a file that holds more than tensors, or none.
    """
    from safetensors.torch import save_file

    if source.suffix.lower() not in PICKLED:
        raise UserError(f"{source} is not a pickled file ({', '.join(PICKLED)}): .safetensors files are read as they are.")
    tensors = read_tensors(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made a folder ({error.strerror}): give another one.") from None
    target = folder / f"{NAMES.get(source.stem, source.stem)}.safetensors"
    if target.exists():
        raise UserError(f"{target} exists: delete it, or give another folder.")
    save_file({name: x.clone().contiguous() for name, x in tensors.items()}, target, {"format": "pt"})
    seal = {"from": source.name, "sha256_of_source": checksum(source), "sha256": checksum(target)}
    (folder / SEAL.format(target.stem)).write_text(json.dumps(seal, indent=2) + "\n", encoding="utf-8")
    return describe(target)


def read_tensors(source: Path) -> dict[str, Any]:
    """The tensors of a pickled file by name: those of a training's `state_dict` where there is one; of a textual inversion its
    vectors, by the word that prompts name it by."""
    import pickle

    import torch

    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{source} does not exist: correct the path.") from None
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError) as error:
        raise UserError(
            f"{source} is not read ({type(error).__name__}): it is damaged, or holds more than tensors, which may be a program; "
            "get the .safetensors file instead."
        ) from None
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    if isinstance(vectors := found.get("string_to_param"), Mapping):  # a web interface's textual inversion
        found = {str(found.get("name") or source.stem): x.detach() for x in vectors.values() if isinstance(x, torch.Tensor)}
    tensors = {str(name): x for name, x in found.items() if isinstance(x, torch.Tensor)}
    if not tensors:
        raise UserError(f"{source} holds no tensors by name: expected weights of a model.")
    return tensors


def describe(file: Path) -> str:
    """What a file of weights is, in a sentence."""
    shapes = file_shapes(file)
    contexts = {shape[-1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")}
    widths = ", ".join(f"texts of width {width}{f' ({WIDTHS[width]})' if width in WIDTHS else ''}" for width in sorted(contexts))
    kind = kind_of_file(shapes)
    if kind == "embedding":
        ((name, shape),) = shapes.items()
        count, width = shape if len(shape) == 2 else (1, *shape)
        return f"{file}: embedding, {count} tokens of width {width}, in prompts {name!r} (or as backbone.embeddings' token says)."
    return f"{file}: {kind}, {len(shapes)} tensors{f', {widths}' if widths else ''}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
