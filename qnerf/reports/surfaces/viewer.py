"""viewer.html: the points before and after the edit, in a page that needs nothing but itself."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch

from qnerf.fields.surface import Cloud
from qnerf.reports.html import render
from qnerf.reports.surfaces.model import Models
from qnerf.reports.surfaces.orbit import upright

MOST_POINTS = 120_000  # of a state: 10 bytes each, and a third more in the page
STEPS = 65535


def viewer_page(models: Models, title: str) -> str:
    """The page's text. Points lie about the focus, in radii, with the cameras' mean upward axis as z, in 16 bits each."""
    scene = models.scene
    poses = scene.cameras.camera_to_world.double().cpu().numpy()
    frame, focus = upright(poses), scene.focus.double().cpu().numpy()
    clouds = {name: model.cloud for name, model in (("before", models.before), ("after", models.after)) if model is not None}
    placed = {name: (cloud.points.double().cpu().numpy() - focus) @ frame.T / scene.radius for name, cloud in clouds.items()}
    every = np.concatenate(list(placed.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    eye = (poses[0, :3, 3] - focus) @ frame.T / scene.radius
    data: dict[str, Any] = {
        "low": low.tolist(),
        "size": np.maximum(high - low, 1e-6).tolist(),
        "clouds": {name: _packed(cloud, placed[name], low, high) for name, cloud in clouds.items()},
        "eye": eye.tolist(),
        "angle": float(2 * torch.atan(scene.cameras.height / 2 / scene.cameras.focal[0, 1])),
        "spacing": float(models.after.cloud.spacing.median()) / scene.radius,
    }
    return render("viewer.html", title=title, data=data, both=models.before is not None)


def _packed(cloud: Cloud, placed: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Positions as 3 x 16 bits between low and high, colours as 3 x 8 bits, in base64."""
    order = np.random.default_rng(0).permutation(len(placed))[:MOST_POINTS]
    positions = np.rint((placed[order] - low) / np.maximum(high - low, 1e-6) * STEPS).astype("<u2")
    colours = np.rint(cloud.colours.cpu().numpy()[order].clip(0, 1) * 255).astype(np.uint8)
    texts = {"positions": positions.tobytes(), "colours": colours.tobytes()}
    return {"count": len(order), **{name: base64.b64encode(data).decode() for name, data in texts.items()}}
