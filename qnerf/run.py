"""The entry: `python -m qnerf.run +exp=articulation`. The run itself is qnerf/runs/pipeline.py.

Settings are checked before anything heavy is imported, so a typo is answered in about a second, with every other error
of the command line and the config beside it.
"""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from qnerf.common.messages import command_line
from qnerf.composing.compose import CONFIGS
from qnerf.composing.overrides import REFUSALS, editor_clashes, explain_refusal
from qnerf.composing.search_path import SEARCH_PATH, with_search_path
from qnerf.config import check, parse
from qnerf.errors import UserError, explain_os_error
from qnerf.planning.light_checks import check_files
from qnerf.runs.finished import FINISHED, finished_folder
from qnerf.sweeps.command import COMMAND, is_sweep
from qnerf.sweeps.objectives import value_for_hydra

USER_ERROR, INTERRUPTED = 2, 130


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(config: DictConfig) -> float | tuple[float, ...] | None:
    """One run, or a trial of another sweeper than ours, which reads what is returned: the figures of `sweep.objectives`."""
    try:
        settings = parse(config)
        # Files of foreign models come in many forms: all that is wrong with them is said before anything is hashed or loaded.
        if not settings.backbone.own_world and (errors := check_files([settings])):
            raise UserError("\n".join(errors))
        if folder := finished_folder(settings):
            print(FINISHED.format(folder), file=sys.stderr)
            return value_for_hydra(folder, settings.sweep.objectives)
        from qnerf.runs.pipeline import run  # torch and the models: only where there is something to run

        overrides = HydraConfig.get().overrides
        searched = [override for override in overrides.hydra if override.startswith(SEARCH_PATH)]
        folder = run(settings, command_line([*COMMAND.split(), *searched, *overrides.task]))
        return value_for_hydra(folder, settings.sweep.objectives)
    except UserError as error:
        _leave(error)
    except OSError as error:
        if sentence := explain_os_error(error):
            _leave(UserError(sentence))
        raise


def main() -> None:
    """Exit code 0: done (now or earlier); 1: cells of a sweep are not; 2: an error that the user can correct,
    in one sentence; 130: interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its refusals over instead of printing and leaving with 1
    try:
        sys.argv[1:] = with_search_path(sys.argv[1:])
        if clashes := editor_clashes(sys.argv[1:]):
            raise UserError("\n".join(clashes))
        if is_sweep(sys.argv[1:]):
            from qnerf.sweeps.sweep import sweep

            raise SystemExit(sweep(sys.argv[1:], CONFIGS))
        _job()
    except UserError as error:
        _leave(error)
    except REFUSALS as refusal:
        errors = explain_refusal(refusal, sys.argv[1:], CONFIGS, lambda config: check(config)[0])
        _leave(UserError("\n".join(errors)))
    except KeyboardInterrupt:
        print("Interrupted. Run the same command to continue.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _leave(error: UserError) -> None:
    print(f"qnerf: {error}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


if __name__ == "__main__":
    main()
