"""Faulty documents without end: formats of captures and proxies, each changed at random places."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.scenes.captures import DOCUMENT, PROXY, SIZE, write_capture
from tests.scenes.test_readers import write_colmap, write_llff, write_npz, write_splits

BAIT = "bait"  # a folder beside the scene's that has an image, and must never be opened
SOLIDS: list[dict[str, Any]] = [
    {"start": [0, 0, 0.9], "end": [0, 0, 1.6], "radius": 0.3},
    {"centre": [0, 0, 0.4], "size": [1, 1, 1], "yaw": 0},
    {"centre": [0, 0, 0.4], "size": [1, 1, 1], "rotation": [[0, -1, 0], [0.6, 0, -0.8], [0.8, 0, 0.6]]},
]
TILTED = {**PROXY["target"], "rotation": SOLIDS[2]["rotation"]}
SKELETON: dict[str, Any] = {
    "kind": "skeleton",
    "joints": ["a", "b", "c"],
    "bones": [[0, 1], [1, 2]],
    "source": [[0, 0, 0.5], [0, 0, 1], [0, 0.5, 1]],
    "target": [[0, 0, 0.5], [0, 0, 1], [0, 0.5, 1.5]],
    **{f"{state}_bounds": {"solids": SOLIDS} for state in ("source", "target")},
}
FULL = {
    **{key: value for key, value in DOCUMENT.items() if key != "frames"},
    "k1": 0.01,
    "k2": 0.0,
    "p1": 0.0,
    "k4": 0.0,
    "camera_model": "OPENCV",
    "is_fisheye": False,
    "camera_angle_x": 0.8,
    "focus": [0, 0, 0.9],
    "radius": 2.0,
    "target_prompt": "b",
    "world": 1,
    "frames": DOCUMENT["frames"],
}
NUMBERS = (0, 1, -1, 2, 0.5, -0.0, 1e-300, 1e30, 1e300, -1e308, 10**25, 10**400, -(10**400), float("nan"), float("inf"))
TEXTS = ("", "a", "5", "²", "\0", "\ud800", "x" * 300, "x" * 5000, "\ufeff", "%s{}", "FULL_OPENCV", "skeleton", "box")
PATHS = (
    "/etc/passwd",
    "images/../../bait/000.png",
    "../bait/000.png",
    "..\\bait\\000.png",
    "images/",
    ".",
    "..",
    "~/a",
    "file:///etc/passwd",
)
LISTS = ([], {}, [[]], [0, 0, 0], [1, 2], {"a": 1}, [[1e308] * 4] * 4, [["1", 2, 3]], [[True] * 3] * 8)
VALUES: tuple[Any, ...] = (None, True, False, *NUMBERS, *TEXTS, *PATHS, *LISTS)
BYTES = (b"\xff" * 8, b"\0" * 4, b"nan", b"1e999", b"-", b"9" * 5000, b"[" * 50_000, b"\n", b"../bait/000.png")
NESTED: Any = 0
for _ in range(200):
    NESTED = [NESTED]


def mutated(document: Any, rng: random.Random) -> Any:
    """A document with one to three of its places changed, taken out, put elsewhere or given twice."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            return document
        parent, key = rng.choice(places)
        what = rng.random()
        if what < 0.15:
            del parent[key]
        elif what < 0.25:
            other, at = rng.choice(places)
            parent[key] = copy.deepcopy(other[at])
        elif what < 0.3 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif what < 0.32:
            parent[key] = copy.deepcopy(NESTED)
        elif what < 0.4 and isinstance(parent[key], int | float) and not abs(parent[key]) > 1e300:
            # of more than 1e300, the products could be no floats
            parent[key] = parent[key] * rng.choice((-1, 1e-3, 0.999, 1.01, 10, 1e6, 1e20))
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return document


def _places(node: Any) -> Any:
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, value in items:
        yield node, key
        yield from _places(value)


def corrupted(content: bytes, rng: random.Random) -> bytes:
    """Bytes that are cut, overwritten, or have others put in."""
    at = rng.randrange(len(content) + 1)
    some = rng.choice((*BYTES, rng.randbytes(3)))
    return rng.choice((content[:at], content[:at] + some + content[at:], content[:at] + some + content[at + len(some) :]))


def _json(name: str, document: Any) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, rng: random.Random) -> None:
        text = json.dumps(mutated(document, rng)).encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(corrupted(text, rng) if rng.random() < 0.15 else text)

    return write


def _bytes(*names: str) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, rng: random.Random) -> None:
        path = folder / rng.choice(names)
        path.write_bytes(corrupted(path.read_bytes(), rng))

    return write


def _text(*names: str) -> Callable[[Path, random.Random], None]:
    """A word of a text file is another one."""

    def write(folder: Path, rng: random.Random) -> None:
        path = folder / rng.choice(names)
        words = path.read_text(encoding="utf-8").split(" ")
        words[rng.randrange(len(words))] = str(rng.choice((*NUMBERS, *TEXTS, *PATHS)))
        path.write_bytes(" ".join(words).encode("utf-8", "surrogatepass"))

    return write


def _split(folder: Path, rng: random.Random) -> None:
    path = folder / f"transforms_{rng.choice(('train', 'val', 'test'))}.json"
    _json(path.name, json.loads(path.read_text()))(folder, rng)


LIST = [
    {"image_path": f"images/{view:03d}.png", "original_prompt": "a [red] ball", "editing_prompt": "a ball", "mask": [0, 24, 48, 5]}
    for view in range(4)
]


def _write_list(folder: Path) -> None:
    write_capture(folder)
    (folder / "transforms.json").unlink()
    (folder / "list.json").write_text(json.dumps(LIST))


BESIDE = {
    **FULL,
    "depth_unit_scale_factor": 1.0,
    "frames": [
        {**frame, "mask_path": f"m/{view}.png", "depth_file_path": f"d/{view}.npy"} for view, frame in enumerate(DOCUMENT["frames"])
    ],
}


def _write_beside(folder: Path) -> None:
    """A capture with masks and depth."""
    write_capture(folder, BESIDE)
    for view in range(4):
        (folder / "m").mkdir(exist_ok=True)
        (folder / "d").mkdir(exist_ok=True)
        Image.new("L", (SIZE, SIZE), 255).save(folder / f"m/{view}.png")
        np.save(folder / f"d/{view}.npy", np.full((SIZE, SIZE), 3.0, np.float32))


BINARY = tuple(f"sparse/0/{name}.bin" for name in ("cameras", "images", "points3D"))
TEXT = tuple(f"colmap/sparse/{name}.txt" for name in ("cameras", "images", "points3D"))
FORMATS: dict[str, tuple[Callable[[Path], Any], Callable[[Path, random.Random], None]]] = {
    "transforms": (write_capture, _json("transforms.json", FULL)),
    "any name": (lambda folder: write_capture(folder, name="a.json"), _json("a.json", FULL)),
    "splits": (write_splits, _split),
    "skeleton": (write_capture, _json("proxy.json", SKELETON)),
    "box": (write_capture, _json("proxy.json", {**PROXY, "source": {**PROXY["source"], "yaw": 3.0}, "target": TILTED})),
    "COLMAP binary": (lambda folder: write_colmap(folder, binary=True), _bytes(*BINARY)),
    "COLMAP text": (lambda folder: write_colmap(folder, binary=False), _text(*TEXT)),
    "LLFF": (write_llff, _bytes("poses_bounds.npy")),
    "npz": (write_npz, _bytes("exports/npz/results.npz")),
    "VGGT": (lambda folder: write_npz(folder, vggt=True), _bytes("predictions.npz")),
    "beside": (_write_beside, _json("transforms.json", BESIDE)),
    "depth": (_write_beside, _bytes(*(f"{name}/{view}.{end}" for view in range(4) for name, end in (("m", "png"), ("d", "npy"))))),
    "list": (_write_list, _json("list.json", LIST)),
    "image": (write_capture, _bytes(*(f"images/{view:03d}.png" for view in range(4)))),
}
