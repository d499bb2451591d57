"""What a ControlNet was trained on, its kind, and which drawings of ours are of that kind. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from qnerf.scenes.settings import Drawing

Kind = Literal["auto", "openpose", "depth", "puppet", "box", "other"]
"""openpose: figures of 18 coloured joints. depth: inverse depth, near is bright. puppet: this project's skeletons. box: its
boxes and loose depths. other: drawings that this project does not make (edges, normals, segments …). auto: as the name says."""

DRAWINGS: dict[str, tuple[Drawing, ...]] = {
    "openpose": ("openpose",),
    "depth": ("depth", "loose_depth"),
    "puppet": ("joints", "bones", "ends"),
    "box": ("box", "loose_depth"),
    "other": (),
}
"""The drawings that a ControlNet of each kind knows, the usual one first; it may be given any as images."""

_NAMED = (
    ("openpose", r"open_?pose|dw_?pose"),
    ("depth", r"depth|midas|zoe"),
    ("other", r"canny|mlsd|line_?art|scribble|soft_?edge|hed|seg|normal|tile|inpaint|shuffle|ip2p|qr|brightness"),
)


def kind_of(name: str, given: Kind = "auto") -> Kind | None:
    """The kind of a ControlNet: the one that is given, else what its hub id, file or folder is called; None:
    that says nothing."""
    if given != "auto":
        return given
    path = Path(name)
    hub = [part for part in path.parts if part.startswith("models--")]
    called = (hub or [path.name])[-1].lower()
    return next((kind for kind, pattern in _NAMED if re.search(rf"(?<![a-z])({pattern})", called)), None)  # pyright: ignore


def drawing_for(kind: Kind, wanted: Drawing) -> Drawing:
    """The drawing for a ControlNet: what is wanted, or where that is auto the usual one of its kind."""
    return (*DRAWINGS[kind], "images")[0] if wanted == "auto" else wanted


def drawing_problem(name: str, key: str, kind_key: str, kind: Kind | None, wanted: Drawing) -> str | None:
    """Why a ControlNet cannot read a drawing, or None. key, kind_key: the settings that say them."""
    known = ", ".join(sorted(DRAWINGS))
    if kind is None:
        return (
            f"{kind_key}: the name of {name} does not say what this ControlNet was trained on, and a foreign "
            "drawing gives wrong "
            f"pictures without a word; set {kind_key} to one of {known}"
        )
    fitting = (*DRAWINGS[kind], "images")
    if wanted == "auto" or wanted in fitting:
        return None
    return (
        f"{key}: got {wanted}, but {name} is a ControlNet of kind {kind}, which reads {' or '.join(fitting)}; "
        f"set {key}={fitting[0]}, "
        f"or give a ControlNet for {wanted} (if it is one, {kind_key}={_kind_for(wanted)})"
    )


def _kind_for(drawing: Drawing) -> str:
    return next((kind for kind, drawings in DRAWINGS.items() if drawing in drawings), "other")
