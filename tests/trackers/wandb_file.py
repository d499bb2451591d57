"""What W&B has kept offline, read from its own file: blocks of LevelDB's log format that hold W&B's protobuf records."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEAD = 32768, 7
FULL, FIRST, LAST = 1, 2, 4


@dataclass
class Kept:
    """One run. exit_code: None where it was killed. inputs, outputs: names of the artifacts that it used and made."""

    run: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    console: str = ""

    def steps(self, key: str) -> list[Any]:
        """The steps at which a figure was logged."""
        return [row.get("step") for row in self.history if key in row]

    def points(self) -> list[tuple[str, Any]]:
        """Every figure and picture with its step, in order; a picture or table stands as one key."""
        found = []
        for row in self.history:
            keys = [key for key in row if key != "step" and not key.startswith(("_", "live/"))]
            pictures = {key.removesuffix("/_type") for key in keys if key.endswith("/_type")}
            plain = {key for key in keys if not any(key.startswith(f"{picture}/") for picture in pictures)}
            found += [(key, row.get("step")) for key in sorted(plain | pictures)]
        return found


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file: each in one piece, or in a first, middle and last one."""
    place, parts = HEAD, b""
    while place + HEAD <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + HEAD])
        if kind == 0:
            return
        piece = data[place + HEAD : place + HEAD + length]
        parts = piece if kind in (FULL, FIRST) else parts + piece
        place += HEAD + length
        if kind in (FULL, LAST):
            yield parts


def read(path: Path) -> Kept:
    """The run of a .wandb file."""
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, kept = path.read_bytes(), Kept()
    assert data[:4] == b":W&B"
    for record in _records(data):
        found = messages.Record()
        found.ParseFromString(record)
        kind = found.WhichOneof("record_type")
        if kind == "run":
            kept.run = found.run
        elif kind == "history":
            kept.history.append({_key(item): json.loads(item.value_json) for item in found.history.item})
        elif kind == "summary":
            kept.summary |= {_key(item): json.loads(item.value_json) for item in found.summary.update}
        elif kind == "exit":
            kept.exit_code = found.exit.exit_code
        elif kind == "output_raw":
            kept.console += found.output_raw.line
        elif kind == "artifact":
            (kept.inputs if found.artifact.use_after_commit else kept.outputs).append(found.artifact.name)
    kept.media = [row[key] for row in kept.history for key in row if key.endswith("/path")]
    return kept


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
