"""How many views COLMAP (Schönberger and Frahm 2016) places from the pictures alone; by pycolmap, where that is installed.

Cameras are not told to it, so the figures say whether the pictures show *one* scene, wherever its cameras are. COLMAP draws
samples at random; its seed is fixed.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from qnerf.common.files import write_image
from qnerf.common.installation import install_command
from qnerf.metrics.registry import Metric
from qnerf.reports.images import to_pixels

SEED = 0
RECORDS = (
    Metric(
        "registered_views", "registration", (), "", "higher",
        "Share of the views that COLMAP places in its largest model, from the pictures alone.",
        "Schönberger and Frahm 2016", None, "views that COLMAP registers", digits=3,
    ),
    Metric(
        "reprojection_error", "registration", (), "px", "lower",
        "Mean distance of COLMAP's points, projected into the views, from where they were seen there.",
        "Schönberger and Frahm 2016", None, "reprojection error of COLMAP's points", digits=3,
    ),
    Metric(
        "track_length", "registration", (), "", "higher",
        "Views in which COLMAP's points are seen, in the mean.",
        "Schönberger and Frahm 2016", None, "track length of COLMAP's points", digits=2,
    ),
)  # fmt: skip


def unavailable() -> str | None:
    """Why COLMAP's figures cannot be had, or None."""
    return None if find_spec("pycolmap") else f"pycolmap is not installed: {install_command('colmap')}"


def registration_figures(images: Tensor) -> dict[str, float]:
    """registered_views, reprojection_error and track_length of views (N, 3, H, W) in [0, 1]; without a model the share is 0 and the
    others do not exist. Needs pycolmap."""
    import pycolmap  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        pictures, database = Path(folder) / "images", Path(folder) / "database.db"
        pictures.mkdir()
        for view, image in enumerate(images):
            write_image(pictures / f"{view:05d}.png", to_pixels(image))
        pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value
        pycolmap.set_random_seed(SEED)
        pycolmap.extract_features(database, pictures, camera_mode=pycolmap.CameraMode.SINGLE, device=pycolmap.Device.cpu)
        pycolmap.match_exhaustive(database, device=pycolmap.Device.cpu)
        models = pycolmap.incremental_mapping(database, pictures, Path(folder) / "models")
        if not models:
            return {"registered_views": 0.0}
        largest = max(models.values(), key=lambda model: model.num_reg_images())
        return {
            "registered_views": largest.num_reg_images() / len(images),
            "reprojection_error": largest.compute_mean_reprojection_error(),
            "track_length": largest.compute_mean_track_length(),
        }
