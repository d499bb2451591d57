"""The proxy, a skeleton's joints or a box before and after the edit, from its file (`proxy_file`) and into it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.bounds import BOX_EDGES, bounding_box
from qnerf.scenes.bounds_file import ReadBounds, bounds_document
from qnerf.scenes.box_turn import turned
from qnerf.scenes.proxy_file import Sides, read_proxy_file
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.world import UNMOVED, World


def write_proxy(path: Path, proxy: Proxy, world: int = 1, units: World = UNMOVED) -> None:
    """Write a proxy so that `read_proxy` gives its joints back bit by bit. world: the version of the world
    that made it. units: what its coordinates are in; written are the world's."""
    bounds = {"source_bounds": proxy.source_bounds, "target_bounds": proxy.target_bounds}
    document = {
        **({"world": world} if world > 1 else {}),
        "kind": proxy.kind,
        "joints": list(proxy.joints),
        "bones": [list(bone) for bone in proxy.bones],
        "source": units.outward(proxy.source.numpy()).tolist(),
        "target": units.outward(proxy.target.numpy()).tolist(),
        **({"keeps_direction": [proxy.joints[joint] for joint in proxy.keeps_direction]} if proxy.keeps_direction else {}),
        **{key: bounds_document(value, units) for key, value in bounds.items() if value is not None},
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_proxy(path: Path, world: World = UNMOVED) -> Proxy:
    """A skeleton or a box from its file; one UserError names everything that is wrong with it. world: in
    whose coordinates it is given back."""
    found = read_proxy_file(path, world)
    return Proxy(
        found.kind,
        found.joints,
        BOX_EDGES if found.kind == "box" else found.bones,
        _points(found.source),
        _points(found.target),
        _bounds(found.source_bounds),
        _bounds(found.target_bounds),
        found.keeps_direction,
    )


def _points(read: np.ndarray | Sides) -> Tensor:
    """(J, 3) float32."""
    if not isinstance(read, Sides):
        return torch.from_numpy(read).float()
    rows = torch.from_numpy(np.stack([read.centre, read.size])).float()
    return box_corners(rows[0], rows[1], read.turn)


def _bounds(read: ReadBounds | None) -> Bounds | None:
    return None if read is None else Bounds(read.solids, torch.from_numpy(read.corners).float())


def box_corners(centre: Tensor, size: Tensor, turn: np.ndarray | float) -> Tensor:
    """The corners (8, 3) of a box about its centre (3,), of edge lengths size (3,). turn: the
    rotation (3, 3) whose columns are its axes, or degrees about z."""
    corners = bounding_box(torch.stack([-size / 2, size / 2]))
    axes = turn if isinstance(turn, np.ndarray) else turned(turn)
    return corners @ torch.from_numpy(axes).float().T + centre
