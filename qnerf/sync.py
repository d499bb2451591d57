"""Finished runs told to a tracker later, from their own record:
`qnerf sync <run or sweep folder> --tracker wandb tracker.mode=online`.

What a tracker has been told already is not told again, so that the same command can be repeated; `--again` tells everything anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qnerf.common.messages import sentence
from qnerf.composing.compose import compose_config
from qnerf.composing.search_path import split_config_dirs
from qnerf.config import check, parse
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.reports.results import SWEEP, read_record
from qnerf.runs.folder import CONFIG, no_run, state_of
from qnerf.runs.tracking import run_of_folder
from qnerf.sweeps.watching import find_folder, words_of
from qnerf.trackers.together import in_words, is_told, replay
from qnerf.trackers.tracker import TrackedRun, TrackerSettings
from qnerf.variants import variants

USAGE = "Usage: qnerf sync RUN_OR_SWEEP_FOLDER … --tracker NAME [tracker.key=value …] [--again] [--config-dir FOLDER]"
OPTIONS = """
  RUN_OR_SWEEP_FOLDER   of finished runs, or of sweeps, whose finished cells are told
  --tracker NAME        whom to tell: {names}; several as NAME,NAME
  tracker.key=value     a setting of the tracker, such as tracker.mode=online (docs/settings.md has them all)
  --again               tell also what it has been told already
  --config-dir FOLDER   configs of a plug-in, whose tracker is to be told"""
NOT_ALL = 1


def main(arguments: Sequence[str]) -> int:
    """0: every finished run is told; 1: a tracker failed, as a warning says; 2: an error that the user can correct."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE + OPTIONS.format(names=", ".join(sorted(variants("trackers")))))
        return 0
    return told_in_a_sentence(lambda: _tell(arguments), "make the runs' folders ones that can be written")


def _tell(arguments: Sequence[str]) -> int:
    folders, settings, again = read_arguments(arguments)
    failed, runs = 0, list(runs_of(folders))
    for run in runs:
        told = [in_words(place) for place in replay(settings, run, again)]
        is_whole = is_told(settings, run)
        failed += not is_whole
        print(f"{run.folder}: {'told to ' + ', '.join(told) if told else 'nothing new' if is_whole else 'not told'}")
    if not runs:
        print(f"{', '.join(map(str, folders))}: no cell is finished yet, so that there is nothing to tell.")
    return NOT_ALL if failed else 0


def read_arguments(arguments: Sequence[str]) -> tuple[list[Path], TrackerSettings, bool]:
    """The folders, the tracker, and whether all is told again. Raises UserError."""
    rest, places = split_config_dirs(arguments)
    words, names, folders, overrides, again = iter(rest), [], [], [], False
    for word in words:
        flag, equals, value = word.partition("=")
        if flag == "--tracker":
            names += (value if equals else next(words, "")).split(",")
        elif word == "--again":
            again = True
        elif flag == "tracker" or word.startswith("tracker."):
            overrides.append(word)
        elif word.startswith("-") or "=" in word:
            raise UserError(f"{word}: not understood. {USAGE}")
        else:
            folders.append(Path(word))
    for name in names:
        if name not in variants("trackers"):
            raise UserError(sentence("--tracker", f"{name!r} is no tracker", name, sorted(variants("trackers"))))
    if not folders or not (names or overrides):
        raise UserError(f"expected a folder and a tracker. {USAGE}")
    chosen = [f"tracker=[{','.join(names)}]"] if names else []
    settings = parse(compose_config([*chosen, *overrides], places, lambda config: check(config)[0])).tracker
    return folders, settings, again


def runs_of(folders: Sequence[Path]) -> Iterator[TrackedRun]:
    """The finished runs of some folders of runs and of sweeps. Raises UserError for a folder that is neither."""
    for folder in folders:
        if (folder / SWEEP).is_file():
            record = read_record(folder)
            for cell in {cell["identity"]: cell for cell in record.get("cells", [])}.values():
                place = find_folder(cell["folder"], folder)
                if state_of(place).status == "done":
                    yield _run(place, words_of(cell["command"], list(record["swept"])), folder.resolve().name)
        elif state_of(folder).status == "done":
            yield _run(folder.resolve())
        else:
            found = f"{folder} is a run that is not finished" if (folder / CONFIG).is_file() else no_run(folder)
            advice = "run its command again first" if (folder / CONFIG).is_file() else "correct the path"
            raise UserError(f"{found}; expected the folder of a finished run, or of a sweep, with {SWEEP}: {advice}.")


def _run(folder: Path, label: str = "", sweep: str | None = None) -> TrackedRun:
    found: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    return run_of_folder(folder, found, label, sweep)


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.exit(main(sys.argv[1:]))
