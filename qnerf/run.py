"""The entry: `python -m qnerf.run +exp=articulation`. The run itself is qnerf/runs/pipeline.py.

Settings are checked before anything heavy is imported, so a typo is answered in about a second, with every other error
of the command line and the config beside it.
"""

from __future__ import annotations

import os
import sys
import warnings

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from qnerf.common.messages import command_line
from qnerf.composing.compose import CONFIGS
from qnerf.composing.grids import unfilled_grid
from qnerf.composing.overrides import INFO, REFUSALS, editor_clashes, explain_refusal, first_value, options_first, search_folders
from qnerf.composing.presets import drop_left_over
from qnerf.composing.search_path import SEARCH_PATH, with_search_path
from qnerf.config import check, parse
from qnerf.errors import UserError, explain_os_error
from qnerf.planning.light_checks import check_files
from qnerf.runs.ending import USER_ERROR, exit_code
from qnerf.runs.finished import FINISHED, finished_folder
from qnerf.runs.tracking import tell_of_finished
from qnerf.sweeps.command import COMMAND, FLAGS, GRID, SWEEPER, UNMATCHED
from qnerf.sweeps.objectives import value_for_hydra


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(config: DictConfig) -> float | tuple[float, ...] | None:
    """One run, or a trial of another sweeper than ours, which reads what is returned: the figures of `sweep.objectives`."""
    try:
        overrides = HydraConfig.get().overrides
        _check_sweep()
        for note in drop_left_over(config, overrides.task):
            print(f"qnerf: {note}", file=sys.stderr)
        settings = parse(config)
        # Files of foreign models come in many forms: all that is wrong with them is said before anything is hashed or loaded.
        if not settings.backbone.own_world and (errors := check_files([settings])):
            raise UserError("\n".join(errors))
        if folder := finished_folder(settings):
            tell_of_finished(settings, folder)
            print(FINISHED.format(folder), file=sys.stderr)
            return value_for_hydra(folder, settings.sweep.objectives)
        from qnerf.runs.pipeline import run  # torch and the models: only where there is something to run

        searched = [override for override in overrides.hydra if override.startswith(SEARCH_PATH)]
        folder = run(settings, command_line([*COMMAND.split(), *searched, *overrides.task]))
        return value_for_hydra(folder, settings.sweep.objectives)
    except UserError as error:
        _leave(error)
    except OSError as error:
        if sentence := explain_os_error(error):
            _leave(UserError(sentence))
        raise


def _check_sweep() -> None:
    """Raises UserError for a grid of an experiment without -m. Says once what a sweep by another sweeper than ours lacks."""
    hydra_config = HydraConfig.get()
    words = hydra_config.overrides.task
    is_dry = any(word.startswith("sweep.dry_run=") and word.lower() != "sweep.dry_run=false" for word in words)
    if hydra_config.mode != RunMode.MULTIRUN:
        given = [override.split("=", 1)[0] for override in hydra_config.overrides.task]
        if problem := unfilled_grid(getattr(hydra_config.sweeper, "params", None) or {}, given):
            raise UserError(problem)
        if is_dry:
            raise UserError(
                "sweep.dry_run: this is a single run, which would be computed; add -m, or write qnerf validate in its place"
            )
        return
    sweeper = hydra_config.runtime.choices[SWEEPER]
    if is_dry:
        raise UserError(f"sweep.dry_run: {SWEEPER}={sweeper} cannot do that, it would run every cell; leave out one of the two")
    if hydra_config.job.num == 0:
        print(
            f"qnerf: {SWEEPER}={sweeper} is Hydra's own way: no table of cells, no results.csv and no page, a cell that fails "
            f"stops the others, and W&B sees no group; leave it out for {SWEEPER}={GRID}.",
            file=sys.stderr,
        )


def main() -> None:
    """Exit code 0: done (now or earlier); 1: cells of a sweep are not; 2: an error that the user can correct,
    in one sentence; 130: interrupted; 143: terminated."""
    warnings.filterwarnings("ignore", message=UNMATCHED)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its refusals over instead of printing and leaving with 1
    try:
        sys.argv[1:] = options_first(with_search_path(sys.argv[1:]))
        _check_shown(sys.argv[1:])
        if clashes := editor_clashes(sys.argv[1:]):
            raise UserError("\n".join(clashes))
        _job()
    except UserError as error:
        _leave(error)
    except REFUSALS as refusal:
        errors = explain_refusal(refusal, sys.argv[1:], CONFIGS, lambda config: check(config)[0])
        _leave(UserError("\n".join(errors)))
    except KeyboardInterrupt as stop:
        print("Interrupted. Run the same command to continue.", file=sys.stderr)
        raise SystemExit(exit_code(stop)) from None


def _check_shown(arguments: list[str]) -> None:
    """Raises UserError where the config of a sweep is to be shown, each of whose cells has one of its own, and for Hydra's own tab
    completion, which knows a single way to call this."""
    if any(word.split("=", 1)[0] in ("--shell-completion", "-sc") for word in arguments):
        raise UserError('--shell-completion: not for these commands; write eval "$(qnerf completion bash)" (or zsh) instead')
    shown = next((word for word in arguments if word.split("=", 1)[0] in ("--cfg", "-c", *INFO)), None)
    if shown and set(FLAGS) & set(arguments):
        first = [first_value(word, search_folders(CONFIGS, arguments)) for word in arguments if word not in FLAGS]
        command = command_line([*COMMAND.split(), *first])
        raise UserError(f"{shown}: a sweep has many configs; for that of its first cell write {command}")


def _leave(error: UserError) -> None:
    print(f"qnerf: {error}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


if __name__ == "__main__":
    main()
