"""Checkpoints: one safetensors file, written whole or not at all, with the counters as JSON in its header."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qnerf.common import renamed
from qnerf.errors import UserError
from qnerf.pretrain.average import Average

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Counters:
    """Steps and training seconds so far, over all resumed runs."""

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(
    folder: Path, modules: nn.ModuleDict, average: Average, optimiser: torch.optim.Optimizer, counters: Counters
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in modules.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.values.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": tensor for key, tensor in state.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_safetensors(folder / CHECKPOINT, tensors, {"counters": json.dumps(asdict(counters))})


def load_checkpoint(folder: Path, modules: nn.ModuleDict, average: Average, optimiser: torch.optim.Optimizer) -> Counters:
    """Restores everything from `folder` in place; fresh counters if there is no checkpoint."""
    if not (folder / CHECKPOINT).exists():
        return Counters()
    tensors, counters = read_checkpoint(folder)
    try:
        modules.load_state_dict(_part(tensors, "model."))
    except RuntimeError as error:
        raise UserError(
            f"{folder / CHECKPOINT} holds a model of another size: set another stage.output or delete that file."
        ) from error
    average.load(_part(tensors, "average."))
    parameters = list(modules.parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        if tensor.shape == parameters[int(index)].shape:  # moments in their parameter's memory layout: AdamW pairs them by it
            tensor = torch.empty_like(parameters[int(index)], requires_grad=False).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return counters


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Counters]:
    """All tensors of a folder's checkpoint by name, on the CPU, and its counters."""
    path = folder / CHECKPOINT
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return _renamed(tensors), Counters(**json.loads(metadata["counters"]))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: first run the training stage that writes it.") from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a readable training checkpoint: delete it to start again.") from error


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The running averages of a folder's checkpoint, by parameter name; buffers come from the model itself."""
    tensors, _ = read_checkpoint(folder)
    return _part(tensors, "model.") | _part(tensors, "average.")


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Temporary name, fsync, rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a checkpoint whose modules had the names of earlier versions (`average.judges.…`)."""
    stages = renamed.of_kind("stage")
    return {".".join(stages.get(part, part) for part in name.split(".")): tensor for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
