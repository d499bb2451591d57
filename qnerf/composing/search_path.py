"""Configs beside the package's own: `--config-dir <folder>`, in the form that runs, sweeps and checks all compose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import UserError

CONFIG_DIR = ("--config-dir", "-cd")
SEARCH_PATH = "hydra.searchpath"


def with_search_path(arguments: Sequence[str]) -> list[str]:
    """The arguments with each `--config-dir <folder>` turned into an override of Hydra's search path, and `key=~/folder` with the
    home in the place of `~`, which neither shells nor Hydra read there. Raises UserError for a folder that is not there."""
    rest, folders = split_config_dirs([_with_home(word) for word in arguments])
    places = ",".join("'file://" + str(folder).replace("'", r"\'") + "'" for folder in folders)
    return [*rest, f"{SEARCH_PATH}=[{places}]"] if folders else rest


def _with_home(word: str) -> str:
    key, equals, value = word.partition("=")
    return f"{key}={Path(value).expanduser()}" if equals and value.startswith("~/") else word


def split_config_dirs(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The arguments without `--config-dir <folder>` and `--config-dir=<folder>`, and these folders. Raises UserError for one that
    is not there."""
    rest: list[str] = []
    folders: list[Path] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in CONFIG_DIR:
            rest.append(word)
            continue
        given = value if equals else next(words, "")
        folder = Path(given).expanduser().absolute()
        if not given or not folder.is_dir():
            raise UserError(f"{flag}: {given!r} is not a folder; expected a folder of configs, for example with editor/<name>.yaml")
        folders.append(folder)
    return rest, folders
