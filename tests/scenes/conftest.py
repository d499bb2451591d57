"""A small standing figure, a ring of cameras round it, and a complete scene with truth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy, Scene, Truth

JOINTS = (
    *("head", "neck", "pelvis", "shoulder_l", "elbow_l", "hand_l", "shoulder_r", "elbow_r", "hand_r"),
    *("hip_l", "knee_l", "foot_l", "hip_r", "knee_r", "foot_r"),
)
BONES = (
    (0, 1),
    (1, 2),
    (1, 3),
    (3, 4),
    (4, 5),
    (1, 6),
    (6, 7),
    (7, 8),
    (2, 9),
    (9, 10),
    (10, 11),
    (2, 12),
    (12, 13),
    (13, 14),
)


def ring_cameras(count: int, size: int, focal: float, distance: float = 3.0, height: float = 1.4) -> Cameras:
    """Cameras on a circle, looking at (0, 0, 0.9)."""
    poses = []
    for view in range(count):
        angle = 2 * math.pi * view / count
        position = torch.tensor([distance * math.sin(angle), -distance * math.cos(angle), height], dtype=torch.float64)
        back = torch.nn.functional.normalize(position - torch.tensor([0.0, 0.0, 0.9], dtype=torch.float64), dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(position.new_tensor([0, 0, 1]), back), dim=0)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :4] = torch.stack([right, torch.linalg.cross(back, right), back, position], dim=1)
        poses.append(pose.float())
    return Cameras(torch.stack(poses), torch.full((count, 2), focal), torch.full((count, 2), size / 2), size, size)


@pytest.fixture
def figure() -> Tensor:
    """(15, 3) joints of a figure that stands at the origin and faces -y; its left is at +x."""
    half = [[0.2, 0.0, 1.42], [0.35, 0.0, 1.15], [0.4, 0.15, 0.9]]
    leg = [[0.1, 0.0, 0.9], [0.12, 0.05, 0.5], [0.12, 0.0, 0.08]]
    mirrored = [[[-x, y, z] for x, y, z in part] for part in (half, leg)]
    trunk = [[0.0, 0.0, 1.7], [0.0, 0.0, 1.45], [0.0, 0.0, 0.95]]
    return torch.tensor(trunk + half + mirrored[0] + leg + mirrored[1])


@pytest.fixture
def cameras() -> Cameras:
    return ring_cameras(4, 64, 75.0)


@pytest.fixture
def scene(figure: Tensor, cameras: Cameras) -> Scene:
    """Four 64-pixel views of noise with a complete truth: what a scene folder can hold."""
    generator = torch.Generator().manual_seed(7)
    shape = (len(cameras), cameras.height, cameras.width)

    def images() -> Tensor:
        return torch.rand((shape[0], 3, *shape[1:]), generator=generator)

    def mask() -> Tensor:
        return torch.rand(shape, generator=generator) > 0.5

    target = figure.clone()
    target[5] += torch.tensor([0.1, 0.0, 0.8])
    truth = Truth(
        edited_images=images(),
        depth_source=2 + 2 * torch.rand(shape, generator=generator),
        depth_edited=2 + 2 * torch.rand(shape, generator=generator),
        silhouette_source=mask(),
        silhouette_edited=mask(),
        moved_edited=mask(),
        plates=images(),
    )
    proxy = Proxy("skeleton", JOINTS, BONES, figure, target)
    names = tuple(f"view_{index:03d}" for index in range(len(cameras)))
    focus = torch.tensor([0.0, 0.0, 0.9])
    return Scene("noise", names, images(), cameras, "a figure", "a figure, arm up", focus, 1.2, proxy, truth)
