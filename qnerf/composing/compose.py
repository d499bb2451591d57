"""conf/ composed from Python as the command line composes it, whatever else the process uses Hydra for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig

from qnerf.common.places import configs
from qnerf.composing.apart import hydra_apart
from qnerf.composing.overrides import REFUSALS, editor_clashes, explain_refusal
from qnerf.composing.presets import drop_left_over
from qnerf.composing.search_path import CONFIG_DIR, with_search_path
from qnerf.errors import UserError

log = logging.getLogger(__name__)

CONFIGS = configs()


def compose_config(
    overrides: Sequence[str], config_dirs: Sequence[Path | str], check: Callable[[DictConfig], list[str]]
) -> DictConfig:
    """The config that some overrides compose. config_dirs: further folders of configs, as `--config-dir` names them.

    check: the errors of a config that composes, one sentence each; they are only asked for where Hydra refuses an override. Raises
    one UserError with a line for every error found.
    """
    arguments = with_search_path([*overrides, *(f"{CONFIG_DIR[0]}={folder}" for folder in config_dirs)])
    if options := [word for word in arguments if word.startswith("-")]:
        raise UserError(f"{options[0]}: an option of the command line; expected overrides alone, such as seed=1 or +exp=shape")
    if clashes := editor_clashes(arguments):
        raise UserError("\n".join(clashes))
    with hydra_apart(CONFIGS):
        try:
            config = compose("config", arguments)
        except REFUSALS as refusal:
            raise UserError("\n".join(explain_refusal(refusal, arguments, CONFIGS, check))) from None
    for note in drop_left_over(config, arguments):
        log.warning("%s", note)
    return config
