"""PNG and JPEG files to tensors and back: 8-bit colour, 16-bit depth with a stated scale, masks."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from qnerf.errors import UserError, printable
from qnerf.scenes.problems import brief

# no PostScript: that runs a program
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "TGA", "GIF")
MOST_PIXELS = 150_000_000  # of an image: 450 MB of memory
LARGEST_JSON = 256 << 20  # bytes
ORIENTATION = 0x0112  # EXIF's tag
NOTHING = 65535  # code of a depth pixel that sees no surface, or one beyond the range


# of characters beyond 16 bits: alone no file takes them
_HALVES = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")


def read_json(path: Path) -> Any:
    """A JSON file's value, in UTF-8, 16 or 32, with or without a byte order mark; half a character,
    which JSON can name, as its escape. UserError where it is missing or is not JSON."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise UserError(
                f"{path} has more than {LARGEST_JSON >> 20} MiB, expected a list of cameras or points: is it the right file?"
            )
        data = path.read_bytes()
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        return _whole(json.loads(text)) if _HALVES.search(text) else json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give a folder that contains it.") from None
    except OSError as error:
        raise UserError(
            f"{brief(str(path), 200)} cannot be read ({error.strerror}): correct its permissions or its path."
        ) from None
    except RecursionError:
        raise UserError(f"{path} is not valid JSON (nested too deeply): correct it or write it again.") from None
    except ValueError as error:
        reason = "a number of thousands of digits" if "digits" in str(error) else brief(str(error), 120)
        raise UserError(f"{brief(str(path), 200)} is not valid JSON ({reason}): correct it or write it again.") from None


def _whole(value: Any) -> Any:
    """The same with `printable` texts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {printable(key): _whole(each) for key, each in value.items()} if isinstance(value, dict) else value


def read_image(path: Path, named: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, decoded to its last byte; transparent pixels are white.

    It stands upright, as its EXIF orientation says, unless it has the size that its intrinsics name (named:
    width and height, in any scale) only as it is stored. Raises UserError where it is damaged, has more than
    `MOST_PIXELS` pixels, or values of no known range.
    """
    image = decode(path)
    try:
        image = _upright(image, named)
        if image.mode.startswith("I") or image.mode == "F":
            return _deep_grey(path, image)
        if "A" in image.getbands() or "transparency" in image.info:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(image.convert("RGB"))
    except (ValueError, OSError, MemoryError, SyntaxError) as error:
        raise _undecodable(path, brief(str(error), 80)) from None


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image as `read_image` gives it, from its first bytes; None where it cannot be
    read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)
    except Exception:  # what is wrong with it is told when it is read
        return None


def is_scaled(size: tuple[int, int], named: tuple[int, int]) -> bool:
    """Whether an image of this size (width, height) is one of the size `named`, scaled as a whole, to a pixel
    of rounding."""
    scale = max(size) / max(named)
    return all(abs(side - full * scale) <= 1 for side, full in zip(size, named, strict=True))


def read_mask(path: Path) -> np.ndarray:
    """(H, W) bool: bright pixels are True; of an image with transparent pixels, such as a cut-out
    photograph, the others."""
    image = decode(path)
    if image.mode in ("RGBA", "LA", "PA", "P"):
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if (alpha <= 127).any():
            return alpha > 127
    return np.asarray(image.convert("L")) > 127


def read_depth(path: Path, scale: float) -> np.ndarray:
    """(H, W) float32 distances: 16-bit values times scale (world units), infinite where there is no
    surface."""
    image = decode(path)
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
    """Write (H, W) distances as a 16-bit PNG of depth / scale; `NOTHING` where it is not positive or does not
    fit."""
    with np.errstate(invalid="ignore"):
        values = np.rint(np.where(depth > 0, depth, np.inf) / scale)
    _write(path, np.where(np.isfinite(values) & (values < NOTHING), values, NOTHING).astype(np.uint16))


def decode(path: Path) -> Image.Image:
    """An image, decoded to its last byte. Raises UserError where it is missing, damaged or too large."""
    try:
        with warnings.catch_warnings():
            # our own limit is lower than its error's
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        image.load()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: put it back or remove it from transforms.json.") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has more than {MOST_PIXELS // 10**6} million pixels, expected at most these: scale the images down, or take "
            "care that it is the right file."
        ) from None
    except UnidentifiedImageError:
        raise _undecodable(path, "not an image") from None
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged files
        raise _undecodable(path, brief(str(error) or type(error).__name__, 80)) from None
    return image


def _undecodable(path: Path, reason: str) -> UserError:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        head = b""
    if head[4:8] == b"ftyp":
        advice = "convert the images, as magick mogrify -format jpg does"
        return UserError(f"{path} is a HEIC or AVIF photograph, expected PNG or JPEG: {advice}.")
    return UserError(f"{path} cannot be decoded ({reason}), expected a complete PNG or JPEG: copy or export it again.")


def _upright(image: Image.Image, named: tuple[int, int] | None) -> Image.Image:
    """The image turned as its EXIF orientation says, unless only the stored one has the proportions of
    `named`."""
    if image.getexif().get(ORIENTATION, 1) not in range(2, 9):
        return image
    turned = ImageOps.exif_transpose(image)
    stored_alone = named is not None and is_scaled(image.size, named) and not is_scaled(turned.size, named)
    return image if stored_alone else turned


def _deep_grey(path: Path, image: Image.Image) -> np.ndarray:
    """Grey values of 16 and 32 bits as 8-bit RGB (H, W, 3): of floats, 0 to 1 or 0 to 255; of whole numbers,
    the range of the least number of bytes that holds them. A value that stands for transparency is white."""
    values = np.asarray(image).astype(np.float64)
    high = values.max(initial=0.0)
    if not np.isfinite(values).all() or values.min(initial=0.0) < -1e-3 or high >= 2.0**32 or (image.mode == "F" and high > 255.5):
        raise UserError(
            f"{path} has values from {values.min():.3g} to {high:.3g}, expected 0 to 1 or 0 to 255: export it as PNG or JPEG."
        )
    if image.mode == "F":
        full = 1.0 if high <= 1.001 else 255.0
    elif image.mode == "I":
        full = next(top for top in (2.0**8 - 1, 2.0**16 - 1, 2.0**32 - 1) if high <= top)
    else:
        full = 2.0**16 - 1
    grey = np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def _write(path: Path, pixels: np.ndarray) -> None:
    written, data = cv2.imencode(".png", pixels)
    if not written:
        raise UserError(f"{path} could not be encoded as PNG: check that its size is not zero.")
    path.write_bytes(data.tobytes())
