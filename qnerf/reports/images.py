"""From tensors in [0, 1] to bytes, and small picture arithmetic shared by the reports."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qnerf.common.files import Pixels


def to_pixels(image: Tensor) -> Pixels:
    """(3, H, W) in [0, 1] to (H, W, 3) bytes, rounded to nearest."""
    scaled = (image.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy())


def enlarge(pixels: Pixels, side: int) -> Image.Image:
    """The picture scaled by a whole factor so that its shorter side is at least `side` pixels."""
    height, width = pixels.shape[:2]
    factor = max(1, -(-side // min(height, width)))
    image = Image.fromarray(pixels)
    return image if factor == 1 else image.resize((width * factor, height * factor), Image.Resampling.LANCZOS)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread, the first always among them."""
    chosen = min(count, most)
    return [i * count // chosen for i in range(chosen)] if chosen else []
