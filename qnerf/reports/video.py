"""The orbit: all views in order, the methods side by side, as an mp4 that browsers play."""

import importlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from qnerf.common.files import Pixels, write_whole
from qnerf.reports.images import enlarge
from qnerf.reports.sheet import INK, PAPER, TEXT_SIZE, Column, load_font

log = logging.getLogger(__name__)

SIDE = 256
FRAMES_PER_VIEW, FRAMES_PER_SECOND = 4, 16


def orbit_video(path: Path, columns: Sequence[Column]) -> bool:
    """Writes an H.264 mp4, each view a quarter of a second, twice round. Even sizes, so that it plays everywhere.

    Without ffmpeg it writes none, says so, and returns False.
    """

    def frames() -> Iterator[Pixels]:
        drawn = [_frame(columns, view) for view in range(len(columns[0].views))]
        for frame in [*drawn, *drawn]:
            yield from [frame] * FRAMES_PER_VIEW

    return write_mp4(path, frames(), FRAMES_PER_SECOND)


def write_mp4(path: Path, frames: Iterable[Pixels], per_second: int) -> bool:
    """An H.264 mp4 of frames (H, W, 3) of even sizes, which are asked for one by one. Without ffmpeg none is asked for or written;
    that is said, and False is returned."""
    try:
        importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
        imageio = importlib.import_module("imageio.v2")
    except (ImportError, RuntimeError):  # the package is missing, or has no ffmpeg for this machine
        log.warning("%s was not written, because ffmpeg is missing: pip install 'imageio[ffmpeg]'.", path.name)
        return False

    def write(temporary: Path) -> None:
        options = {"fps": per_second, "codec": "libx264", "quality": 8, "macro_block_size": 2}
        with imageio.get_writer(temporary, format="FFMPEG", **options) as writer:
            for frame in frames:
                writer.append_data(frame)

    write_whole(path, write)
    return True


def first_frame(columns: Sequence[Column]) -> Pixels:
    """What stands where the video will play."""
    return _frame(columns, 0)


def _frame(columns: Sequence[Column], view: int) -> Pixels:
    tiles = [enlarge(column.views[view], SIDE) for column in columns]
    width, height = tiles[0].size
    bar = 24
    page = Image.new("RGB", (_even(width * len(tiles)), _even(height + bar)), PAPER)
    draw = ImageDraw.Draw(page)
    for i, (column, tile) in enumerate(zip(columns, tiles, strict=True)):
        page.paste(tile, (i * width, bar))
        draw.text((i * width + 6, 4), column.title, font=load_font(TEXT_SIZE + 2), fill=INK)
    return np.asarray(page)


def _even(length: int) -> int:
    return length + length % 2
