"""Some views of a scene side by side, as a picture for trackers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from qnerf.common.files import write_image
from qnerf.reports.images import spread, to_pixels

MOST = 6  # views of a strip


def write_strip(path: Path, images: Tensor) -> Path:
    """Writes at most six views, evenly spread. images: (N, 3, H, W) in [0, 1]. Returns the path."""
    write_image(path, np.concatenate([to_pixels(images[index]) for index in spread(len(images), MOST)], axis=1))
    return path
