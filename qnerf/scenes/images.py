"""PNG and JPEG files to tensors and back: 8-bit colour, 16-bit depth with a stated scale, masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from qnerf.errors import UserError

NOTHING = 65535  # code of a depth pixel that sees no surface, or one beyond the range


def read_json(path: Path) -> Any:
    """A JSON file's value; UserError where it is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give a folder that contains it.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): correct its permissions or its path.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): correct it or write it again.") from None


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, decoded to its last byte (UserError where it is damaged); transparent pixels are white."""
    image = _decode(path)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """(H, W) bool: bright pixels are True."""
    return np.asarray(_decode(path).convert("L")) > 127


def read_depth(path: Path, scale: float) -> np.ndarray:
    """(H, W) float32 distances: 16-bit values times scale (world units), infinite where there is no surface."""
    image = _decode(path)
    if image.mode not in ("I;16", "I;16B", "I"):
        raise UserError(f"{path} has pixels of mode {image.mode}, expected a 16-bit grey PNG: write the depth again.")
    values = np.asarray(image).astype(np.float32)
    return np.where(values >= NOTHING, np.float32(np.inf), values * np.float32(scale))


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (3, H, W) values in [0, 1] as an 8-bit RGB PNG."""
    rgb = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    _write(path, rgb[..., ::-1])


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write (H, W) bool as a black and white PNG."""
    _write(path, mask.astype(np.uint8) * 255)


def write_depth(path: Path, depth: np.ndarray, scale: float) -> None:
    """Write (H, W) distances as a 16-bit PNG of depth / scale; `NOTHING` where it is not positive or does not fit."""
    with np.errstate(invalid="ignore"):
        values = np.rint(np.where(depth > 0, depth, np.inf) / scale)
    _write(path, np.where(np.isfinite(values) & (values < NOTHING), values, NOTHING).astype(np.uint16))


def _decode(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it back or remove it from transforms.json.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(f"{path} cannot be decoded ({reason}), expected a complete PNG or JPEG: copy or export it again.") from None
    return image


def _write(path: Path, pixels: np.ndarray) -> None:
    written, data = cv2.imencode(".png", pixels)
    if not written:
        raise UserError(f"{path} could not be encoded as PNG: check that its size is not zero.")
    path.write_bytes(data.tobytes())
