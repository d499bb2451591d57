"""PLY files (Turk 1994), binary, of points alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

NAMES = {"f4": "float", "f8": "double", "u1": "uchar"}


def write_ply(path: Path, columns: Mapping[str, np.ndarray], comments: Sequence[str] = ()) -> None:
    """Points with these properties, in order. columns: (P,) each, of float32, float64 or uint8."""
    kinds = [(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), dtype=kinds)
    for name, values in columns.items():
        rows[name] = values
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    lines += [f"element vertex {len(rows)}", *(f"property {NAMES[kind.str[1:]]} {name}" for name, kind in kinds), "end_header"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode("ascii") + b"\n" + rows.tobytes())
