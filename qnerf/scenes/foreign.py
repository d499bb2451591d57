"""What a folder holds that no reader takes, and what converts it. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

_TO_NERFSTUDIO = "convert it with ns-process-data"
_COLMAP = "find the cameras with COLMAP or ns-process-data images"
KNOWN: tuple[tuple[str, str, str], ...] = (  # how a name ends, what it is, what to do
    (".r3d", "a Record3D recording", f"{_TO_NERFSTUDIO} record3d"),
    (".psx", "a Metashape project", f"export its cameras as XML and {_TO_NERFSTUDIO} metashape"),
    (".xml", "an XML file, as Metashape exports cameras", f"{_TO_NERFSTUDIO} metashape"),
    (".rcproj", "a RealityCapture project", f"export its registration as CSV and {_TO_NERFSTUDIO} realitycapture"),
    (".csv", "a CSV table, as RealityCapture exports cameras", f"{_TO_NERFSTUDIO} realitycapture"),
    ("corrected_cameras", "a Polycam export", f"{_TO_NERFSTUDIO} polycam"),
    ("keyframes", "a Polycam export", f"{_TO_NERFSTUDIO} polycam"),
    (".nvm", "a VisualSFM model", "open it in COLMAP and export a sparse model as text"),
    ("bundle.out", "a Bundler model", "open it in COLMAP and export a sparse model as text"),
    (".npz", "an array file without cameras", "export it with extrinsics and intrinsics"),
    (".db", "a COLMAP database without a model", "run COLMAP's mapper on it"),
    (".mp4", "a film", "convert it with ns-process-data video"),
    (".mov", "a film", "convert it with ns-process-data video"),
    ("images", "images without cameras", _COLMAP),
    (".jpg", "images without cameras", _COLMAP),
    (".jpeg", "images without cameras", _COLMAP),
    (".png", "images without cameras", _COLMAP),
    (".heic", "images without cameras", f"convert them to JPEG, and {_COLMAP}"),
)


def foreign(folder: Path) -> str | None:
    """What a folder without posed images holds, and what to do with it, in words; None where that is not
    known."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    for end, what, advice in KNOWN:
        for name in names:
            if name.lower().endswith(end):
                return f"it holds {name[:60]}, {what}: {advice}"
    return None
