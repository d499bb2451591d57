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
from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import Field

from qnerf.common.plugins import installed
from qnerf.errors import UserError
from qnerf.settings import Settings

KINDS = {  # the base class of each kind's settings
    "backbones": "qnerf.backbones.backbone.BackboneSettings",
    "editors": "qnerf.editors.editor.EditorSettings",
    "editors.additions": "qnerf.editors.base.AdditionSettings",
    "guidance": "qnerf.guidance.guidance.GuidanceSettings",
    "inversions": "qnerf.inversions.inversion.InversionSettings",
    "schedules": "qnerf.schedules.schedule.ScheduleSettings",
    "trackers": "qnerf.trackers.tracker.TrackerSettings",
}


class Variant(Settings):
    """The settings of one choice. Subclasses narrow `name` to a Literal of one string, and build what
    the choice does."""

    name: Any  # a Literal of one string

    @classmethod
    def choice(cls) -> str | None:
        """The name by which configs choose this variant; None for a base class of several."""
        options = get_args(cls.model_fields["name"].annotation)
        return str(options[0]) if len(options) == 1 else None


Found = dict[str, type[Variant]]


@cache
def variants(kind: str) -> Found:
    """Every variant of a kind by name: the package's own, then those of installed packages.

    Raises UserError where two have one name, or where an installed package's entry point does not give
    a variant of this kind.
    """
    found = dict(_own(kind))
    places = {name: f"{value.__module__}.{value.__qualname__}" for name, value in found.items()}
    expected = f"a subclass of {KINDS[kind]} with `name: Literal[…]`"
    for where, value in installed(f"qnerf.{kind}", expected, _is_variant(kind)):
        name = str(value.choice())
        if name in found:
            raise UserError(
                f"two variants of qnerf.{kind} are named {name!r}: {places[name]} and {where}; expected "
                "different names: rename or uninstall one"
            )
        found[name], places[name] = value, where
    return found


def problems() -> list[str]:
    """What is wrong with the variants of installed packages, one sentence a kind."""
    found = []
    for kind in KINDS:
        try:
            variants(kind)
        except UserError as error:
            found.append(str(error))
    return found


def union(kind: str) -> Any:
    """The type of a setting that chooses one variant of the kind by its `name`. Where `problems` has
    something to say of the kind, it is of the package's own alone: an import is no place to tell it.
    """
    try:
        found = variants(kind)
    except UserError:
        found = _own(kind)
    return Annotated[reduce(or_, found.values()), Field(discriminator="name")]


@cache
def _own(kind: str) -> Found:
    """The package's own variants of a kind by name."""
    found: Found = {}
    package = importlib.import_module(f"qnerf.{kind}")
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__) if _declares(package, info.name)):
        values = vars(importlib.import_module(f"qnerf.{kind}.{name}")).values()
        found.update((name, value) for value in values if _is_variant(kind)(value) and value.choice() == name)
    return found


def _declares(package: ModuleType, module: str) -> bool:
    """Whether a module's source has a variant of the module's name. Others are not imported: they may
    need torch."""
    source = Path(package.__path__[0], f"{module}.py")
    return source.is_file() and f'name: Literal["{module}"]' in source.read_text(encoding="utf-8")


def _is_variant(kind: str) -> Callable[[Any], bool]:
    module, _, name = KINDS[kind].rpartition(".")
    base = getattr(importlib.import_module(module), name)
    return lambda value: isinstance(value, type) and issubclass(value, base) and value.choice() is not None
