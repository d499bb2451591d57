"""Pages from the templates beside this file (Jinja2): every text is escaped, pictures and films lie inside the page."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from qnerf.common.files import Pixels


def render(template: str, **values: Any) -> str:
    """A whole document that needs nothing but itself. values: what the template names; one that it lacks is an error."""
    return environment().get_template(template).render(**values)


@cache
def environment() -> Environment:
    """Templates whose texts are escaped; `Markup` is not."""
    made = Environment(
        loader=PackageLoader("qnerf.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"png": png, "photo": photo, "mp4": mp4}
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return made


def png(pixels: Pixels) -> str:
    """(H, W, 3) bytes as the address of a PNG inside the page."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


LARGE = 160  # pixels of the longer side, above which a photograph is kept as a JPEG
SHOWN = 512  # of a larger one


def photo(pixels: Pixels) -> str:
    """A view as the address of a picture inside the page: as it is where it is small, else as a JPEG of at most 512 pixels."""
    if max(pixels.shape[:2]) <= LARGE:
        return png(pixels)
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    image.thumbnail((SHOWN, SHOWN))
    image.save(buffer, format="JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def mp4(data: bytes) -> str:
    """A film as the address of one inside the page."""
    return f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
