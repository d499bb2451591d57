"""The version of the code that a stage runs, read from the sources: a module and all that it imports, however deep.

So a new metric leaves every edit's version as it was, and a change to the guidance leaves the inversion's.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import qnerf

# Modules that hold settings (whose values count by themselves), or that store and show results: never followed.
WITHOUT_EFFECT = (
    "qnerf.errors",
    "qnerf.config",
    "qnerf.settings",
    "qnerf.metrics.registry",  # words and order: what computes a figure is in its group's module
    "qnerf.reports",
    "qnerf.runs.files",
    "qnerf.runs.folder",
    "qnerf.runs.identity",
    "qnerf.runs.plan",
    "qnerf.runs.progress",
    "qnerf.runs.sources",
    "qnerf.runs.stages",
    "qnerf.runs.tensors",
    "qnerf.scenes.on_demand",  # writes scenes, whose contents count by themselves
    "qnerf.schedules.work",
    "qnerf.store",
    "qnerf.sweeps",
    "qnerf.trackers",
)


@cache
def code_version(*modules: str) -> str:
    """16 hexadecimal digits over the sources of some qnerf modules and of every qnerf module that they reach."""
    hasher = hashlib.sha256()
    for module in sorted(reachable(*modules)):
        hasher.update(module.encode() + b"\0" + (_source(module) or b""))
    return hasher.hexdigest()[:16]


def reachable(*modules: str) -> set[str]:
    """The given modules and the qnerf modules that they import, directly or not, without those that change no result."""
    found: set[str] = set()
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module not in found and not _without_effect(module):
            found.add(module)
            pending += _imports(module)
    return found


def _without_effect(module: str) -> bool:
    return module.endswith(".settings") or any(module == name or module.startswith(name + ".") for name in WITHOUT_EFFECT)


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in _named(module) if _source(name) is not None))


def _named(module: str) -> Iterator[str]:
    """Every dotted name that an import could mean, also inside functions; `from a import b` may mean a module a.b."""
    for node in ast.walk(ast.parse(_source(module) or b"")):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # importlib.import_module("qnerf.…")
            yield node.value


@cache
def _source(module: str) -> bytes | None:
    if module != "qnerf" and not module.startswith("qnerf."):
        return None
    path = Path(qnerf.__file__).parent.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.read_bytes()
    return None
