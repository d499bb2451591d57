"""Whether a run is done already: found out before torch and a model are imported, which takes most of a second run's time."""

from __future__ import annotations

from pathlib import Path

from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.runs.folder import state_of
from qnerf.runs.identity import read_inputs, run_folder
from qnerf.runs.stages import Stages

FINISHED = "Finished already, nothing to do: {}"


def finished_folder(settings: RunSettings) -> Path | None:
    """The folder of a finished run of these settings. None where there is none, where the weights are not on this machine (only
    the loaded model tells their hash), and where the scene cannot be read: the run itself says all that is wrong with it."""
    try:
        inputs = read_inputs(settings)
    except UserError:
        return None
    if inputs.weights is None:
        return None
    folder = run_folder(settings, Stages(settings, inputs).identity())
    return folder if state_of(folder).status == "done" else None
