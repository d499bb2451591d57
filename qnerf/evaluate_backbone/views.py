"""The held-out scene-views that everything is measured on: pictures, captions, controls and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnerf.classifiers.labels import LabelledView, label_view, silhouettes
from qnerf.scenes.procedural.samples import SEED_STRIDE, check_side, draw_details, draw_sample, orbit_camera
from qnerf.scenes.procedural.world import KINDS, WORLDS, draw_scene


@dataclass(frozen=True)
class Views:
    """N views. images: (N, 3, S, S) in [0, 1]. controls: (N, 3, S, S) by grade. captions: N texts. parts: (N, S, S) uint8 part
    maps. kinds: (N,) indices of KINDS. names: (N, parts) indices of the colours that captions tell. seeds: N, of their noise."""

    images: Tensor
    controls: dict[str, Tensor]
    captions: tuple[str, ...]
    parts: Tensor
    kinds: Tensor
    names: Tensor
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, some: slice) -> Views:
        controls = {grade: drawn[some] for grade, drawn in self.controls.items()}
        return Views(
            self.images[some], controls, self.captions[some], self.parts[some], self.kinds[some], self.names[some], self.seeds[some]
        )

    @property
    def silhouettes(self) -> Tensor:
        """(N, S, S) bool."""
        return silhouettes(self.parts)


def heldout_views(
    seed: int, first: int, count: int, size: int, world: int, grades: Sequence[str], kinds: Sequence[str] | None = None
) -> Views:
    """Views `first` to `first + count - 1` of a held-out seed, each of a scene of its own, the kinds in turn (none: the world's).

    Raises UserError for a seed that is not held out.
    """
    kinds = kinds or WORLDS[world]
    labelled, controls, seeds = [], [], [seed * SEED_STRIDE + index for index in range(first, first + count)]
    for index, sample in enumerate(seeds, first):
        check_side(sample, heldout=True)
        drawn = draw_sample(sample, size, kinds[index % len(kinds)], world)
        labelled.append(label_view(*drawn))
        controls.append(draw_details(*drawn, grades))
    return _together(labelled, controls, seeds)


def ring_views(seed: int, size: int, world: int, grades: Sequence[str], kind: str, count: int = 4, step: float = 40.0) -> Views:
    """Neighbouring views, `step` degrees apart, of one scene of the held-out split."""
    scene = draw_scene(seed, "heldout", kind, world)
    focus, turns = np.array(scene.shape.FOCUS), np.deg2rad(step) * np.arange(count)
    ring = [orbit_camera(float(turn), np.deg2rad(18.0), scene.shape.DISTANCE, size, focus=focus) for turn in turns]
    labelled = [label_view(scene, view) for view in ring]
    return _together(labelled, [draw_details(scene, view, grades) for view in ring], list(range(count)))


def _together(labelled: list[LabelledView], controls: list[dict[str, np.ndarray]], seeds: list[int]) -> Views:
    stack = {key: torch.from_numpy(np.stack([getattr(view, key) for view in labelled])) for key in ("image", "parts", "names")}
    return Views(
        images=stack["image"],
        controls={grade: torch.from_numpy(np.stack([drawn[grade] for drawn in controls])) for grade in controls[0]},
        captions=tuple(view.caption for view in labelled),
        parts=stack["parts"],
        kinds=torch.tensor([KINDS.index(view.kind) for view in labelled]),
        names=stack["names"],
        seeds=tuple(seeds),
    )
