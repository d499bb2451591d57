"""What of an edit's error its views share, and what each view has of its own: only the latter is there to be consolidated.

    python experiments/consolidation/shared_error.py outputs/sweeps/benchmark-<hash>

A point X of the true edited surface is seen by the views V(X), and view i shows it with the error e_i(X) = I_i - I*_i at X's place
in it. Over the views that see it, exactly,

    mean_i e_i^2 = (mean_i e_i)^2 + var_i e_i :    the squared error is what the views share and what each has of its own.

Views that agree perfectly, on the mean of what they show, keep the first part. Where all views raise an arm straight that should
be bent, no agreement mends it. Points are the pixels of every view that show the object's true edited surface; errors are found in
the other views as the warp error finds colours (`qnerf.metrics.warp`), so they are a little smoothed by resampling.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from qnerf.backbones.load import load_backbone
from qnerf.benchmark.cells import BenchmarkCell, read_cells
from qnerf.benchmark.tables import methods_of
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.inversions.invert import chunks
from qnerf.metrics.warp import project_points, sample_bilinear, seen_there, surface_points
from qnerf.runs.folder import CONFIG
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Truth

LEAST_VIEWS = 3  # of a point: of fewer the mean says little


@dataclass(frozen=True)
class SplitError:
    """Mean squared errors over channels, views and points: of the views' mean, and of each view about it."""

    shared: float
    own: float

    @property
    def decibels(self) -> float:
        """Peak signal-to-noise ratio of both together."""
        return -10 * math.log10(self.shared + self.own)

    @property
    def decibels_agreed(self) -> float:
        """The same if all views showed their mean."""
        return -10 * math.log10(self.shared)


def split_error(edited: Tensor, truth: Truth, counted: Tensor, cameras: Cameras, tolerance: float) -> SplitError:
    """The error of edited views (N, 3, H, W) over the points that the pixels counted (N, H, W) see, if `LEAST_VIEWS` do; NaN where
    there is no such point."""
    errors, depth, silhouette = edited - truth.edited_images, truth.depth_edited, truth.silhouette_edited
    points = surface_points(depth, cameras)
    seen_by = torch.ones_like(depth)
    total, squares = errors.clone(), errors.square()
    for shift in range(1, len(cameras)):
        other = [(view + shift) % len(cameras) for view in range(len(cameras))]
        pixels, distance = project_points(points, cameras[other])
        seen = seen_there(pixels, distance, depth[other], silhouette[other], tolerance)
        found = torch.where(seen[:, None], sample_bilinear(errors[other], pixels), torch.zeros_like(errors))
        seen_by, total, squares = seen_by + seen, total + found, squares + found.square()
    chosen = counted & silhouette & (seen_by >= LEAST_VIEWS)
    of_mean = (total / seen_by[:, None]).square().mean(dim=1)[chosen].double()
    of_all = (squares / seen_by[:, None]).mean(dim=1)[chosen].double()
    return SplitError(of_mean.mean().item(), (of_all - of_mean).mean().item())


@torch.no_grad()
def cell_errors(cell: BenchmarkCell, methods: Sequence[str]) -> dict[str, SplitError]:
    """The errors over the object of each method's edit of a finished cell, decoded from its run folder."""
    settings = RunSettings.model_validate(OmegaConf.to_container(OmegaConf.load(cell.folder / CONFIG)))
    scene = read_scene(settings.scene)
    truth = scene.truth
    if truth is None:
        raise UserError(f"{cell.folder}: its scene {scene.name} has no truth to err from, take cells whose scene has one.")
    backbone = load_backbone(settings.backbone, torch.device("cpu"))

    def images(method: str) -> Tensor:
        latents = load_file(cell.folder / "methods" / f"{method}.safetensors")["latents"]
        return torch.cat([backbone.decode(latents[chunk]) for chunk in chunks(len(latents), settings.chunk_size)])

    how = (truth, truth.silhouette_edited, scene.cameras, settings.metrics.depth_tolerance)
    errors = {method: split_error(images(method), *how) for method in methods}
    if any(math.isnan(error.shared) for error in errors.values()):
        raise UserError(f"{cell.folder}: no point is seen by {LEAST_VIEWS} of its {len(scene.cameras)} views, take scenes of more.")
    return errors


def mean_errors(cells: Sequence[dict[str, SplitError]], method: str) -> SplitError:
    """One method's errors, the mean over cells."""
    return SplitError(*(sum(getattr(c[method], part) for c in cells) / len(cells) for part in ("shared", "own")))


def table(cells: Sequence[dict[str, SplitError]], methods: Sequence[str]) -> str:
    """A Markdown row a method: both errors, times 1000, beside the independent edit's, and the PSNR before and after agreement."""
    head = "| method | shared error | of its own | shared, to independent | its own, to independent | PSNR | if all views agreed |"
    lines = [head, "|" + "---|" * 7]
    base = mean_errors(cells, "independent")
    for method in methods:
        e = mean_errors(cells, method)
        parts = (
            method, f"{1000 * e.shared:.2f}", f"{1000 * e.own:.2f}", f"{e.shared / base.shared:.0%}", f"{e.own / base.own:.0%}",
            f"{e.decibels:.2f} dB", f"{e.decibels_agreed:.2f} dB",
        )  # fmt: skip
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", type=Path, help="folder of a finished benchmark")
    try:
        cells = [cell for cell in read_cells(parser.parse_args(arguments).sweep) if cell.disagrees]
        methods = methods_of(cells)
        if not cells:
            raise UserError("no cell's independent edit disagrees enough to be consolidated: sweep a looser control.detail.")
        errors = [cell_errors(cell, methods) for cell in cells]
    except UserError as error:
        print(f"shared_error: {error}", file=sys.stderr)
        return 2
    for kind in sorted({cell.kind for cell in cells}):
        print(f"\n{kind}\n\n{table([e for cell, e in zip(cells, errors, strict=True) if cell.kind == kind], methods)}")
    print(f"\nall, {len(cells)} cells\n\n{table(errors, methods)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
