"""Variants: what a config group chooses between. A variant is one file: its settings, and what they
build.

`qnerf/inversions/x.py` has a subclass of `Variant` with `name: Literal["x"]`; conf/inversion/x.yaml has
its keys. Nothing else lists it: the package's own variants are the modules that are named like what
they hold, and installed packages add theirs as entry points of the group `qnerf.inversions`
(`.editors`, `.guidance`, `.schedules`, `.backbones`, `.trackers`), each naming a settings class:

    [project.entry-points."qnerf.editors"]
    my_editor = "my_package.my_editor:MyEditorSettings"

Settings are read before torch is imported, so the modules of these folders import it inside functions;
`build()` may.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import Field

from qnerf.errors import UserError
from qnerf.settings import Settings

KINDS = ("backbones", "editors", "guidance", "inversions", "schedules", "trackers")


class Variant(Settings):
    """The settings of one choice. Subclasses narrow `name` to a Literal of one string, and build what
    the choice does."""

    name: Any  # a Literal of one string

    @classmethod
    def choice(cls) -> str | None:
        """The name by which configs choose this variant; None for a base class of several."""
        options = get_args(cls.model_fields["name"].annotation)
        return str(options[0]) if len(options) == 1 else None


@cache
def variants(kind: str) -> dict[str, type[Variant]]:
    """Every variant of a kind by name: the package's own, then those of installed packages.

    Raises UserError where two have one name, or where an installed package's entry point does not give
    a variant.
    """
    found: dict[str, type[Variant]] = {}
    package = importlib.import_module(f"qnerf.{kind}")
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__) if _declares(package, info.name)):
        for value in vars(importlib.import_module(f"qnerf.{kind}.{name}")).values():
            if _is_variant(value) and value.choice() == name:
                _add(found, kind, value)
    for entry in sorted(entry_points(group=f"qnerf.{kind}"), key=lambda entry: entry.name):
        _add(found, kind, _loaded(kind, entry))
    return found


def union(kind: str) -> Any:
    """The type of a setting that chooses one variant of the kind by its `name`."""
    return Annotated[reduce(or_, variants(kind).values()), Field(discriminator="name")]


def _declares(package: ModuleType, module: str) -> bool:
    """Whether a module's source has a variant of the module's name. Others are not imported: they may
    need torch."""
    source = Path(package.__path__[0], f"{module}.py")
    return source.is_file() and f'name: Literal["{module}"]' in source.read_text(encoding="utf-8")


def _is_variant(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Variant) and value.choice() is not None


def _loaded(kind: str, entry: Any) -> type[Variant]:
    where = f"entry point {entry.name!r} of qnerf.{kind} ({entry.value}, installed by {entry.dist and entry.dist.name})"
    try:
        value = entry.load()
    except Exception as error:
        raise UserError(f"{where} cannot be imported ({error}); mend or uninstall that package") from error
    if not _is_variant(value):
        raise UserError(
            f"{where} is {value!r}, where a subclass of qnerf.variants.Variant with `name: Literal[…]` was expected; mend or "
            "uninstall that package"
        )
    return value


def _add(found: dict[str, type[Variant]], kind: str, value: type[Variant]) -> None:
    name = str(value.choice())
    if name in found:
        raise UserError(
            f"two variants of qnerf.{kind} are named {name!r}: {_place(found[name])} and {_place(value)}; expected names of "
            "their own: rename or uninstall one"
        )
    found[name] = value


def _place(value: type[Variant]) -> str:
    return f"{value.__module__}.{value.__qualname__}"
