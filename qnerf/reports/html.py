"""A few lines of HTML: escaping, tables, pictures inside the page."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from qnerf.common.files import Pixels

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #e5e5e5; text-align: right }
th:first-child, td:first-child, td.text { text-align: left } td.best { font-weight: 700 }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9rem }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem }
.warning { background: #fff4d6; border-left: 4px solid #d99a00; padding: .6rem 1rem }
.small { color: #555; font-size: .9rem } .pair { display: flex; flex-wrap: wrap; gap: 1rem }
"""


def escape(text: object) -> str:
    """Text made safe for a page, quotes included."""
    return html.escape(str(text), quote=True)


def page(title: str, body: Sequence[str]) -> str:
    """A whole document that needs nothing but itself: no script, no style sheet, no picture elsewhere."""
    fit = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{fit}<title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are already HTML (`cell`)."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</table>"


def cell(text: object, kind: str = "") -> str:
    """One escaped cell; kind: a class, `best` or `text`."""
    return f'<td class="{escape(kind)}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def picture(pixels: Pixels, caption: str) -> str:
    """A figure with the picture inside the page, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def video(data: bytes, caption: str) -> str:
    """A figure with an mp4 inside the page; it shows controls and needs no script."""
    source = base64.b64encode(data).decode()
    tag = f'<video controls loop muted playsinline width="100%" src="data:video/mp4;base64,{source}"></video>'
    return f"<figure>{tag}<figcaption>{escape(caption)}</figcaption></figure>"
