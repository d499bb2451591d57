"""Denoising with injected cross-attention maps, as distilling them into 3-D leaves them (J24).

    python -m experiments run J24 --images 8

Three views of a held-out scene, 15 degrees apart, are inverted in 30 steps under their caption, and
their cross-attention maps are read while they are denoised again. The middle view is then drawn
from noise, and its maps are replaced: by its own of each step; by their mean over times up to 700,
by head and layer; by that mean, smoothed by a Gaussian; and by the smoothed mean of its two
neighbours, brought to it by the true geometry, which is what a feature field over a frozen density
has where two views train it. "In place": the neighbours' as they are, which shows what geometry is
worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.features.study import FIRST_SEED
from experiments.injection import figures
from experiments.injection.features import Transform, blurred
from experiments.injection.figures import COLUMNS, drawn, figures_of, picture
from experiments.inversions.study import STEPS, WORLD
from experiments.results import adding, command, lacking, read
from qnerf.attention.edits import ReplaceProbs
from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.attention.maps import RecordMaps
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.classifiers.classifiers import load_classifiers
from qnerf.config import RunSettings
from qnerf.denoising.ddim import ddim_step
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import Views, ring_views
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.images import write_image
from qnerf.scenes.procedural.raycast import geometry
from qnerf.scenes.procedural.samples import orbit_camera
from qnerf.scenes.procedural.world import KINDS, draw_scene
from qnerf.scenes.settings import width_height
from qnerf.scenes.warping import project_points, sample_bilinear

VIEWS, MIDDLE, APART, HEIGHT = 3, 1, 15.0, 18.0  # degrees
LATEST, MAP_STEPS, SMOOTH = 700, 0.8, 1.0  # smooth: places of each layer's grid (ours); steps as Prompt-to-Prompt has them
NEAR = 0.05  # of the distance: a neighbour sees the same surface
NONE, OWN, MEAN, SMOOTHED = "no maps", "own, step by step", "own, mean over t", "own, mean, smoothed"
CARRIED, IN_PLACE = "neighbours', by geometry", "neighbours', in place"
ROWS = (NONE, OWN, MEAN, SMOOTHED, CARRIED, IN_PLACE)
RESULTS: str = "maps.csv"
UNCHANGED = Transform(lambda x: x, lambda x: x)

Maps = dict[AttentionLayer, Tensor]
"""(V, heads, n, L) by cross-attention layer."""


@dataclass(frozen=True)
class Ring:
    """The views of a scene, depth (V, S, S) along their rays, and their cameras."""

    views: Views
    depth: Tensor
    cameras: Cameras


def ring_of(number: int, size: int) -> Ring:
    """Scene `number`, whose kinds take turns."""
    seed, kind = FIRST_SEED + 500 + number, KINDS[number % len(KINDS)]
    scene = draw_scene(seed, "heldout", kind, WORLD)
    turns, focus = np.deg2rad(APART) * np.arange(VIEWS), np.array(scene.shape.FOCUS)
    ring = [orbit_camera(float(turn), np.deg2rad(HEIGHT), scene.shape.DISTANCE, size, focus=focus) for turn in turns]
    solids = scene.solids()
    cameras = Cameras(
        torch.tensor(np.stack([view.camera_to_world for view in ring]), dtype=torch.float32),
        torch.tensor([[view.focal] * 2 for view in ring], dtype=torch.float32),
        torch.full((VIEWS, 2), size / 2), size, size,
    )  # fmt: skip
    depth = torch.from_numpy(np.stack([geometry(view, solids)[0] for view in ring]))
    return Ring(ring_views(seed, size, WORLD, ("joints",), kind, VIEWS, APART), depth, cameras)


def carried(values: Tensor, ring: Ring, target: int, others: Sequence[int]) -> Tensor:
    """Maps (C, rows, columns) of a view from those of others (V, C, rows, columns): what they show
    of the surface that is seen at each place, the mean over those that see it; where none does,
    their mean in place."""
    rows, columns = values.shape[-2:]
    rays = ring.cameras[[target]].token_rays(rows, columns)
    reach = F.interpolate(ring.depth[[target]][:, None], (rows, columns), mode="nearest-exact")[:, 0, ..., None]
    points, size = rays.origins + reach * rays.directions, ring.depth.shape[-1]
    found, seen = [], []
    for view in others:
        pixels, distance = project_points(points, ring.cameras[[view]])
        column, row = (pixels[..., axis].floor().long() for axis in (0, 1))
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        there = ring.depth[view][row.clamp(0, size - 1), column.clamp(0, size - 1)]
        seen.append(inside & ((there - distance).abs() < NEAR * distance))
        scaled = pixels * pixels.new_tensor([columns / size, rows / size])
        found.append(sample_bilinear(values[view][None], scaled)[0])
    weights = torch.stack(seen).to(values)  # (others, 1, rows, columns)
    total = weights.sum(dim=0)
    mean = (weights * torch.stack(found)).sum(dim=0) / total.clamp_min(1)
    return torch.where(total > 0, mean, values[list(others)].mean(dim=0))


class Scene:
    """The maps of a scene's views, read once."""

    def __init__(self, backbone: DiffusionBackbone, ring: Ring, number: int, steps: int = STEPS) -> None:
        self.backbone, self.ring, self.number = backbone, ring, number
        self.steps, self.layers = backbone.process.steps(steps), backbone.cross_attention_layers
        self.text = backbone.embed([ring.views.captions[MIDDLE], ""])
        self.by_step: list[Maps] = []
        self.mean: Maps = {}
        self._read()

    def branch(self, rows: int) -> SourceBranch:
        each = self.text[:, None].expand(-1, rows, -1, -1)
        inversion = DdimInversionSettings(name="ddim").build()
        return SourceBranch(self.backbone, self.steps, inversion, Conditioning.of(each[0]), each[1])

    @torch.no_grad()
    def _read(self) -> None:
        branch = self.branch(VIEWS)
        z, counted = branch.invert(self.backbone.encode(self.ring.views.images)).states[0], 0
        for k, time in enumerate(self.steps.timesteps):
            record = RecordMaps()
            noise = branch.noise(z, k, edits=Edits.at(self.layers, record))
            z = ddim_step(z, noise, self.steps, k, k + 1)
            if k < int(MAP_STEPS * len(self.steps)):
                self.by_step.append({layer: p[[MIDDLE]].clone() for layer, p in record.maps.items()})
            if time <= LATEST:
                counted += 1
                for layer, p in record.maps.items():
                    self.mean[layer] = self.mean.get(layer, torch.zeros_like(p)) + p
        self.mean = {layer: p / counted for layer, p in self.mean.items()}

    def maps(self, row: str, k: int) -> Maps:
        """What a row injects at step k, (1, heads, n, L) of each layer."""
        if row == OWN:
            return self.by_step[k]
        return {layer: self._made(row, layer, p) for layer, p in self.mean.items()}

    def _made(self, row: str, layer: AttentionLayer, p: Tensor) -> Tensor:
        if row == MEAN:
            return p[[MIDDLE]]
        images = p.transpose(2, 3).flatten(1, 2).unflatten(-1, layer.token_grid(self.backbone.latent_size))
        others = [view for view in range(VIEWS) if view != MIDDLE]
        images = blurred(images, SMOOTH)
        if row == SMOOTHED:
            found = images[MIDDLE]
        else:
            found = carried(images, self.ring, MIDDLE, others) if row == CARRIED else images[others].mean(dim=0)
        return found.flatten(1).unflatten(0, p.shape[1::2]).transpose(1, 2)[None]

    @torch.no_grad()
    def denoised(self, rows: Sequence[str]) -> Tensor:
        """Pictures (R, 3, S, S) of the middle view, all from one noise."""
        noise = drawn((1, self.backbone.latent_channels, *self.backbone.latent_size), FIRST_SEED, self.number)
        branch, z, fixed = (
            self.branch(len(rows)),
            noise.repeat(len(rows), 1, 1, 1),
            {row: self.maps(row, 0) for row in rows if row != NONE},
        )
        for k in range(len(self.steps)):
            edits = None
            if k < len(self.by_step) and fixed:
                each = [self.maps(row, k) if row == OWN else fixed[row] for row in rows]
                maps = {layer: torch.cat([some[layer] for some in each]) for layer in self.layers}
                edits = Edits.at(self.layers, ReplaceProbs((CONDITIONAL,), maps))
            z = ddim_step(z, branch.noise(z, k, edits=edits), self.steps, k, k + 1)
        return self.backbone.decode(z)


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every scene that the folder lacks, scene by scene. An image is a scene."""
    path, settings = folder / RESULTS, RunSettings.compose()
    todo = lacking(path, filter(wanted, ROWS), range(first, images))
    if not todo:
        return
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    backbone, classifiers = settings.backbone.build(torch.device("cpu")), load_classifiers()
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            ring = ring_of(number, width_height(settings.scene.size)[0])
            scene, view = Scene(backbone, ring, number), ring.views[MIDDLE : MIDDLE + 1]
            write_image(picture(folder, "middle view", number), view.images[0].numpy())
            for rows in ([row for row in left if row == NONE], [row for row in left if row != NONE]):
                for row, found in zip(rows, scene.denoised(rows) if rows else (), strict=True):
                    write_image(picture(folder, row, number), found.numpy())
                    add({"row": row, "image": number, **figures_of(found, view, UNCHANGED, classifiers)})


def table(path: Path) -> str:
    """Means with intervals, each row beside no maps."""
    beside: Mapping[str, str] = dict.fromkeys(ROWS, NONE)
    return figures.table(read(path), beside, "maps")


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """The middle view and what was drawn of some scenes."""
    return figures.sheet(folder, read(folder / RESULTS), ["middle view"], rows, "Injected cross-attention maps", most)


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=8)
