"""Contact sheets: one row per view, one titled column per method, figures under each column, a verdict at the foot."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from qnerf.common.files import Pixels
from qnerf.reports.images import enlarge, spread

TILE, GAP, MARGIN = 160, 6, 14
INK, FAINT, PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
TITLE_SIZE, TEXT_SIZE = 16, 13

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Column:
    """One column of a sheet. views: a picture per view. lines: the figures below it."""

    title: str
    views: Sequence[Pixels]
    lines: Sequence[str] = field(default_factory=tuple)


def contact_sheet(columns: Sequence[Column], view_names: Sequence[str], title: str, footer: str, most_rows: int = 6) -> Pixels:
    """The sheet as (H, W, 3) bytes. Tiles are at least 160 px; at most `most_rows` views, evenly spread."""
    rows = spread(len(view_names), most_rows)
    tiles = [[enlarge(column.views[row], TILE) for column in columns] for row in rows]
    width, height = tiles[0][0].size
    small, large = load_font(TEXT_SIZE), load_font(TITLE_SIZE)
    page_width = 2 * MARGIN + len(columns) * (width + GAP) - GAP
    captions = [[part for line in column.lines for part in wrap(line, small, width)] for column in columns]
    head = wrap(title, large, page_width - 2 * MARGIN)
    foot = wrap(footer, large, page_width - 2 * MARGIN)
    top = MARGIN + len(head) * _line(large) + GAP + _line(large)
    caption_top = top + len(rows) * (height + GAP)
    foot_top = caption_top + max((len(c) for c in captions), default=0) * _line(small) + MARGIN
    page = Image.new("RGB", (page_width, foot_top + len(foot) * _line(large) + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, MARGIN, MARGIN, head, large, INK)
    for c, column in enumerate(columns):
        x = MARGIN + c * (width + GAP)
        _write(draw, x, top - _line(large), [_fit(column.title, large, width)], large, INK)
        for r, row in enumerate(tiles):
            page.paste(row[c], (x, top + r * (height + GAP)))
        _write(draw, x, caption_top, captions[c], small, FAINT)
    for r, index in enumerate(rows):
        _label(draw, MARGIN + 3, top + r * (height + GAP) + 2, str(view_names[index]), small)
    _write(draw, MARGIN, foot_top, foot, large, INK)
    return np.asarray(page)


def load_font(size: int) -> Font:
    """The font that Pillow carries with it, so that a sheet looks the same everywhere."""
    return ImageFont.load_default(size)


def wrap(text: str, font: Font, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width` pixels; a longer word is cut short."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(_fit(word, font, width))
    return lines


def _fit(text: str, font: Font, width: int) -> str:
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2] + "…"
    return text


def _line(font: Font) -> int:
    return round(getattr(font, "size", 10) * 1.4)


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, lines: Sequence[str], font: Font, colour: tuple[int, ...]) -> None:
    for i, line in enumerate(lines):
        draw.text((x, y + i * _line(font)), line, font=font, fill=colour)


def _label(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, font: Font) -> None:
    """Text on a picture, legible on any ground."""
    draw.text((x, y), text, font=font, fill=PAPER, stroke_width=2, stroke_fill=INK)
