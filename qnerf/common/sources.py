"""The version of the code that a stage runs, read from the sources: a module and all that it imports,
however deep.

So a new metric leaves every edit's version as it was, and a change to the guidance leaves the
inversion's.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from qnerf.common.hashes import LENGTH

# Modules that hold settings (whose values count by themselves), or that store and show results: never
# followed.
WITHOUT_EFFECT = (
    "qnerf.errors",
    "qnerf.common",  # files, hashes, messages: nothing in it computes
    "qnerf.config",
    "qnerf.settings",
    "qnerf.metrics.registry",  # words and order: what computes a figure is in its group's module
    "qnerf.reports",
    "qnerf.runs.folder",
    "qnerf.runs.foreign",  # warns
    "qnerf.runs.identity",
    "qnerf.runs.plan",
    "qnerf.runs.posing",  # a stage of its own, which counts for the methods that read it
    "qnerf.runs.progress",
    "qnerf.runs.stages",
    "qnerf.scenes.kept",  # the output, not the edit
    "qnerf.scenes.on_demand",  # writes scenes, whose contents count by themselves
    "qnerf.store",
    "qnerf.sweeps",
    "qnerf.trackers",
    "qnerf.variants",
)


@cache
def code_version(*modules: str) -> str:
    """16 hexadecimal digits over the sources of some modules and of every module that they reach, of
    qnerf and of their own packages."""
    hasher = hashlib.sha256()
    for module in sorted(reachable(*modules)):
        hasher.update(module.encode() + b"\0" + (_source(module) or b""))
    return hasher.hexdigest()[:LENGTH]


def reachable(*modules: str) -> set[str]:
    """The given modules and what they import, directly or not, of qnerf and of the packages that the
    given ones are in, such as an installed variant's; without those that change no result, unless they are given."""
    packages = {"qnerf", *(module.split(".")[0] for module in modules)}
    found: set[str] = set()
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module not in found and (module in modules or not _without_effect(module)):
            found.add(module)
            pending += [name for name in _imports(module) if name.split(".")[0] in packages and _source(name) is not None]
    return found


def _without_effect(module: str) -> bool:
    if not module.startswith("qnerf."):
        return False
    return module.endswith(".settings") or any(module == name or module.startswith(name + ".") for name in WITHOUT_EFFECT)


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in _named(module) if all(part.isidentifier() for part in name.split("."))))


def _named(module: str) -> Iterator[str]:
    """Every dotted name that an import could mean, also inside functions; `from a import b` may mean a
    module a.b."""
    for node in ast.walk(ast.parse(_source(module) or b"")):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = _above(module, node.level)
            base = ".".join(part for part in (above, node.module) if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # importlib.import_module("qnerf.…")
            yield node.value


def _above(module: str, level: int) -> str:
    """The package that a relative import of a level starts from; empty for an absolute one."""
    if not level:
        return ""
    path = _path(module)
    up = level - 1 if path is not None and path.name == "__init__.py" else level
    return ".".join(module.split(".")[:-up] if up else module.split("."))


@cache
def _source(module: str) -> bytes | None:
    path = _path(module)
    return path.read_bytes() if path else None


@cache
def _path(module: str) -> Path | None:
    """Where a module's source is; None where it has none."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is None or spec.origin is None:
        return None
    if not spec.submodule_search_locations:  # a package of one file
        return Path(spec.origin) if not rest and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations:
        path = Path(folder).joinpath(*rest)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None
