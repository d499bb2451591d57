"""Editors that need what the shipped ones do not: all views at each step, and a state from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from qnerf.attention.edits import ExtendKeysValues, KeysValues, RecordKeysValues
from qnerf.attention.hooks import AttentionCall, AttentionEdit, Edits
from qnerf.denoising.edit import EditBranch, EditStep
from qnerf.editors.editor import Editor, EditorSettings


class ExtendedSettings(EditorSettings):
    """Extended attention at some self-attention layers, of each group of so many views in their order."""

    name: Literal["extended"] = "extended"
    at: tuple[int, ...] = (9, 12)
    group: int = 99
    keep_background: bool = False

    def build(self) -> Extended:
        return Extended(self)


class Extended(Editor):
    """Keys and values of a layer are those of passes in which all layers before it are extended: a round of passes a layer."""

    joint = True
    settings: ExtendedSettings

    def __init__(self, settings: ExtendedSettings) -> None:
        super().__init__(settings)
        self.everyone: dict[str, KeysValues] = {}
        self.rounds: list[int] = []

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        self.everyone = {}
        self.rounds.append(k)
        for index in self.settings.at:
            found: dict[str, list[tuple[Tensor, Tensor]]] = {}
            for branch, part in branches():
                layer, record = branch.backbone.layers[index], RecordKeysValues()
                branch.noise(part, k, Edits.at([layer], record))
                keys, values = record.kept[layer]
                for name, rows in branch.seen(part, k, branch.rows).batch.rows.items():
                    own = slice(rows.start, rows.stop)
                    found.setdefault(name, []).append((_own(keys, own, part), _own(values, own, part)))
            for name, parts in found.items():
                everyone = self.everyone.setdefault(name, {})
                everyone[layer] = (torch.cat([k for k, _ in parts]), torch.cat([v for _, v in parts]))  # pyright: ignore

    def edits(self, step: EditStep) -> Edits:
        known = next(iter(self.everyone.values()), {})
        return Edits.at(tuple(known), ExtendKeysValues(self.everyone), OwnGroup(step, self.settings.group))


def _own(x: Tensor, rows: slice, part: Tensor) -> Tensor:
    assert rows.stop - rows.start == len(part)
    return x[rows]


class OwnGroup(AttentionEdit):
    """Of the keys of all views a view sees those of its group."""

    def __init__(self, step: EditStep, group: int) -> None:
        own, every = torch.arange(step.all_views)[step.views] // group, torch.arange(step.all_views) // group
        self.seen = own[:, None] == every

    def before(self, call: AttentionCall) -> AttentionCall:
        tokens = call.k.shape[2] // self.seen.shape[1]
        seen = self.seen.repeat_interleave(tokens, dim=1).repeat(len(call.batch.rows), 1)[:, None, None]
        return replace(call, bias=torch.zeros_like(seen, dtype=call.q.dtype).masked_fill(~seen, -torch.inf))


class MeanSettings(EditorSettings):
    """Predicted clean latents are drawn half way to the mean of those of the steps before."""

    name: Literal["mean"] = "mean"
    keep_background: bool = False

    def build(self) -> Mean:
        return Mean(self)


class Mean(Editor):
    """State: of each view the sum of its predicted clean latents, and the number of its steps. Changed in place, which must not
    show in what was kept of it. stop: the step at which the process dies."""

    def __init__(self, settings: EditorSettings) -> None:
        super().__init__(settings)
        self.kept: dict[str, Tensor] = {}
        self.restored: list[list[str]] = []
        self.stop: int | None = None

    def edits(self, step: EditStep) -> Edits:
        self._of(step)["passes"][step.views] += 1  # of any kind: steps aside must not show
        return Edits()

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        if step.k == self.stop:
            raise KeyboardInterrupt
        kept = self._of(step)
        kept["steps"][step.views] += 1
        kept["sum"][step.views] += clean
        return clean + 0.5 * (kept["sum"][step.views] / kept["steps"][step.views][:, None, None, None] - clean)

    def state(self) -> dict[str, Tensor]:
        return self.kept

    def restore(self, state: dict[str, Tensor]) -> None:
        self.restored.append(sorted(state))
        self.kept = state

    def _of(self, step: EditStep) -> dict[str, Tensor]:
        if not self.kept:
            counts = torch.zeros(2, step.all_views)
            self.kept = {"steps": counts[0], "passes": counts[1], "sum": torch.zeros(step.all_views, *step.z.shape[1:])}
        return self.kept
