"""One cell of a sweep, wherever it runs: its failure is told at once and stops no other cell."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from qnerf.common.messages import command_line
from qnerf.composing.presets import drop_left_over
from qnerf.config import RunSettings, parse
from qnerf.errors import UserError, explain_os_error
from qnerf.reports.results import read_record
from qnerf.runs.ending import exit_code
from qnerf.runs.folder import RunBusy, note_failure
from qnerf.runs.identity import read_inputs, run_folder
from qnerf.runs.stages import Stages
from qnerf.runs.tracking import tell_of_failure
from qnerf.sweeps.command import COMMAND
from qnerf.sweeps.watching import words_for, words_of
from qnerf.trackers.journal import attempts_told

if TYPE_CHECKING:
    from qnerf.runs.beat import SweepPlace


def run_cell(config: DictConfig) -> None:
    """The task of every launcher. Its outcome is in the run folder: `done`, or `failed.json` with the reason."""
    typed = list(HydraConfig.get().overrides.task)
    overrides = command_line(typed)
    drop_left_over(config, typed)  # as it was said when the sweep was laid out
    settings, place, folder, attempts = parse(config), None, None, 0
    try:
        from qnerf.runs.pipeline import run  # torch and the models: only where there is something to run

        folder = run_folder(settings, identity_of(settings))
        place, attempts = place_of(Path(HydraConfig.get().sweep.dir), typed, folder.name), attempts_told(folder)
        run(settings, f"{COMMAND} {overrides}", place)
    except RunBusy as error:
        print(f"qnerf: cell {overrides} is skipped, another process has it: {error}", file=sys.stderr, flush=True)
    except (Exception, SystemExit) as error:
        reason = reason_of(error)
        print(f"qnerf: cell {overrides} failed: {reason}", file=sys.stderr, flush=True)
        if folder is None:  # the scene is what failed
            return
        with suppress(OSError, UserError):  # where the disk is full
            note_failure(folder, reason, "" if isinstance(error, UserError) else traceback.format_exc())
            if attempts_told(folder) == attempts:
                tell_of_failure(settings, folder, place, exit_code(error))


def place_of(folder: Path, typed: Sequence[str], identity: str) -> SweepPlace | None:
    """Where a cell stands in the sweep of this folder; None where nobody has laid it out there."""
    from qnerf.runs.beat import SweepPlace  # torch

    try:
        swept = list(read_record(folder)["swept"])
    except UserError:
        return None
    label = words_of(command_line(typed), swept)
    return SweepPlace(folder.name, label, words_for(folder, identity))


def reason_of(error: BaseException) -> str:
    """Why a cell failed, in a sentence."""
    if isinstance(error, OSError) and (sentence := explain_os_error(error)):
        return sentence
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def identity_of(settings: RunSettings) -> str:
    """The identity of the run that these settings describe."""
    return Stages(settings, read_inputs(settings)).identity()
