"""Photographs of every depth and lens are the picture that was meant, or are refused."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qnerf.errors import UserError
from qnerf.scenes.images import MOST_PIXELS, read_image
from qnerf.scenes.lens import fisheye_angle, undistort_fisheye


def save(path: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return read_image(path)


def test_images_of_every_depth_are_the_same_picture(tmp_path: Path) -> None:
    grey = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    shown = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(save(tmp_path / "a.tiff", Image.fromarray(grey.astype(np.float32) / 255)), shown)
    assert np.array_equal(save(tmp_path / "b.tiff", Image.fromarray(grey.astype(np.float32))), shown)
    assert np.array_equal(save(tmp_path / "c.tiff", Image.fromarray(grey.astype(np.int32) * 257)), shown)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(save(tmp_path / "d.png", deep), shown)
    white = np.where(shown == 9, 255, shown)
    assert np.array_equal(save(tmp_path / "e.png", deep, transparency=9 * 257), white)
    assert np.array_equal(save(tmp_path / "f.png", Image.fromarray(grey, "L").convert("P")), shown)
    assert np.abs(save(tmp_path / "g.tiff", Image.fromarray(shown).convert("CMYK")).astype(int) - shown).max() <= 1
    with pytest.raises(UserError, match="has values from 0 to 1e\\+03, expected 0 to 1 or 0 to 255"):
        save(tmp_path / "h.tiff", Image.fromarray(np.linspace(0, 1000, 256, dtype=np.float32).reshape(16, 16)))


def test_a_turned_photograph_stands_upright_unless_its_intrinsics_lie(tmp_path: Path) -> None:
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:6, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: upright after a quarter turn clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    for named in (None, (16, 24), (160, 240)):
        assert np.array_equal(read_image(tmp_path / "a.png", named), upright)
    assert np.array_equal(read_image(tmp_path / "a.png", (24, 16)), np.rot90(upright))


def test_images_that_are_refused(tmp_path: Path) -> None:
    for name, side in {"a.png": math.isqrt(MOST_PIXELS) + 1, "b.png": 20_000}.items():  # Pillow has a limit of its own
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 0) + b"IDAT")
        with pytest.raises(UserError, match="has more than 150 million pixels"):
            read_image(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 500)
    with pytest.raises(UserError, match="is a HEIC or AVIF photograph, expected PNG or JPEG: convert"):
        read_image(tmp_path / "c.png")


def test_a_fisheye_shows_a_line_straight() -> None:
    """A ray's point, drawn where the lens puts it, must lie where the pinhole puts it."""
    coefficients, focal, centre = np.array([0.05, -0.01, 0.002, 0.0]), np.array([40.0, 42.0]), np.array([61.0, 55.0])
    ray = np.array([0.6, -0.45])
    away = np.linalg.norm(ray)
    seen = focal * ray / away * fisheye_angle(np.arctan(away), coefficients) + centre
    rows, columns = np.mgrid[0:120, 0:128] + 0.5
    image = np.exp(-((columns - seen[0]) ** 2 + (rows - seen[1]) ** 2) / 2).astype(np.float32)
    straight, length, middle = undistort_fisheye(image, focal, centre, coefficients)
    found = np.array([(straight * columns).sum(), (straight * rows).sum()]) / straight.sum()
    np.testing.assert_allclose(found, ray * length + middle, atol=0.3)
    assert np.abs(seen - (ray * focal + centre)).max() > 2  # no pinhole put it there
    corner = (np.array([0.0, 0.0]) - middle) / length
    assert np.linalg.norm(corner) <= np.tan(np.radians(60)) + 1e-6
    with pytest.raises(ValueError, match="fold back"):
        undistort_fisheye(image, focal, centre, np.array([-1.0, 0, 0, 0]))
