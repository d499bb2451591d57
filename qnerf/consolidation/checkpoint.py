"""A finished interval as flat tensors, and back: what an interrupted run needs to resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.consolidation.consolidate import IntervalRecord
from qnerf.consolidation.targets import TargetQueries


class Checkpoints(Protocol):
    """Where a schedule leaves what it has finished."""

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The finished interval that ends at state `stop`: as it was kept, or computed and kept."""
        ...


class NoCheckpoints:
    """Nothing is kept."""

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return compute()


@dataclass(frozen=True)
class FinishedInterval:
    """latents: (N, 4, h, w) where the next interval begins. target: the queries that guide it. field:
    the field's own state, kept where the next field starts from it, else empty. editor: the editor's
    state there."""

    latents: Tensor
    target: TargetQueries
    record: IntervalRecord
    field: dict[str, Tensor]
    editor: dict[str, Tensor]


def pack(interval: FinishedInterval) -> dict[str, Tensor]:
    target, record = interval.target, interval.record
    tensors = {"latents": interval.latents, "step": torch.tensor(record.step), "depth": record.depth}
    tensors |= {"recorded": record.recorded, "rendered": record.rendered}
    for layer, maps in target.maps.items():
        tensors[f"maps/{layer.path}"] = maps
        tensors[f"components/{layer.path}"] = target.components[layer]
        tensors[f"scale/{layer.path}"] = torch.tensor(target.scale[layer], dtype=torch.float64)
        tensors[f"r2/{layer.path}"] = torch.tensor(target.r2[layer], dtype=torch.float64)
    tensors |= {f"field/{key}": value for key, value in interval.field.items()}
    tensors |= {f"editor/{key}": value for key, value in interval.editor.items()}
    return {key: value.contiguous() for key, value in tensors.items()}


def unpack(tensors: dict[str, Tensor], layers: tuple[AttentionLayer, ...]) -> FinishedInterval:
    target = TargetQueries(
        maps={layer: tensors[f"maps/{layer.path}"] for layer in layers},
        scale={layer: tensors[f"scale/{layer.path}"].item() for layer in layers},
        r2={layer: tensors[f"r2/{layer.path}"].item() for layer in layers},
        components={layer: tensors[f"components/{layer.path}"] for layer in layers},
    )
    record = IntervalRecord(
        step=int(tensors["step"]),
        r2={layer.path: target.r2[layer] for layer in layers},
        recorded=tensors["recorded"],
        rendered=tensors["rendered"],
        depth=tensors["depth"],
    )
    field, editor = (
        {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)} for part in ("field/", "editor/")
    )
    return FinishedInterval(tensors["latents"], target, record, field, editor)
