"""Pinhole cameras and the rays through their pixels.

Conventions, fixed here for the whole project: camera axes are OpenGL's (x right, y up, the camera looks along -z), as
in nerfstudio's `transforms.json`; the world's z axis points up; pixel (column i, row j) has its centre at
(i + 0.5, j + 0.5).
"Depth" is always the distance along the unit-length ray, in world units, unless a name says `z_depth`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """Origins and unit directions, both (..., 3), in world coordinates."""

    origins: Tensor
    directions: Tensor


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras without distortion, all of one image size.

    camera_to_world: (N, 4, 4). focal: (N, 2) pixels (x, y). centre: (N, 2) principal points, pixels (x, y).
    width, height: pixels.
    """

    camera_to_world: Tensor
    focal: Tensor
    centre: Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, index: Tensor | list[int] | slice) -> Cameras:
        """The cameras named by a slice or a list of indices (always a `Cameras`, never a single one)."""
        return Cameras(self.camera_to_world[index], self.focal[index], self.centre[index], self.width, self.height)

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(self.camera_to_world.to(device), self.focal.to(device), self.centre.to(device), self.width, self.height)

    @property
    def positions(self) -> Tensor:
        """(N, 3) centres of projection."""
        return self.camera_to_world[:, :3, 3]

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras for images scaled to width x height pixels."""
        scale = self.focal.new_tensor([width / self.width, height / self.height])
        return Cameras(self.camera_to_world, self.focal * scale, self.centre * scale, width, height)

    def rays(self, view: Tensor, pixels: Tensor) -> Rays:
        """The rays through points of the image plane.

        view: (...) camera index. pixels: (..., 2) points (x, y) in pixels. Returns rays with leading shape (...).
        """
        xy = (pixels - self.centre[view]) / self.focal[view]
        local = torch.stack([xy[..., 0], -xy[..., 1], -torch.ones_like(xy[..., 0])], dim=-1)
        pose = self.camera_to_world[view]
        directions = torch.einsum("...ij,...j->...i", pose[..., :3, :3], local)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        return Rays(pose[..., :3, 3].expand_as(directions), directions)

    def token_rays(self, rows: int, columns: int) -> Rays:
        """One ray per token of a rows x columns map, through the centre of its patch of pixels: (N, rows, columns)."""
        device = self.focal.device
        x = (torch.arange(columns, device=device) + 0.5) * (self.width / columns)
        y = (torch.arange(rows, device=device) + 0.5) * (self.height / rows)
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        pixels = torch.stack([grid_x, grid_y], dim=-1).expand(len(self), rows, columns, 2)
        view = torch.arange(len(self), device=device)[:, None, None].expand(len(self), rows, columns)
        return self.rays(view, pixels.to(self.focal.dtype))

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (N, P, 3) or (P, 3) into every camera: pixels (N, P, 2), z_depth (N, P), negative behind it."""
        if points.dim() == 2:
            points = points.expand(len(self), *points.shape)
        rotation, position = self.camera_to_world[:, :3, :3], self.positions
        local = torch.einsum("nji,npj->npi", rotation, points - position[:, None])
        z_depth = -local[..., 2]
        safe = torch.where(z_depth.abs() < 1e-8, torch.full_like(z_depth, 1e-8), z_depth)
        xy = torch.stack([local[..., 0], -local[..., 1]], dim=-1) / safe[..., None]
        return xy * self.focal[:, None] + self.centre[:, None], z_depth
