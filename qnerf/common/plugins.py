"""What installed packages add: their entry points, loaded and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

from qnerf.errors import UserError


def installed(group: str, expected: str, fits: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    """The entry points of a group in the order of their names: where each is from, in words, and what it
    gives.

    expected: what `fits` asks for, in words. Raises UserError where an entry point cannot be imported
    or gives something else.
    """
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        where = f"entry point {entry.name!r} of {group} ({entry.value}, installed by {entry.dist and entry.dist.name})"
        try:
            value = entry.load()
        except Exception as error:  # any: it is somebody else's code
            raise UserError(f"{where} cannot be imported ({error}); correct or uninstall that package") from error
        if not fits(value):
            raise UserError(f"{where} is {value!r}, expected {expected}; correct or uninstall that package")
        yield where, value
