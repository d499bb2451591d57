"""The entry: `python -m qnerf.examine [key=value …]`; conf/examine/config.yaml says what can be set."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from qnerf.common.messages import describe_error
from qnerf.errors import UserError
from qnerf.examine.settings import ExamineSettings

CONF = str(Path(__file__).resolve().parents[2] / "conf")


def parse(config: DictConfig) -> ExamineSettings:
    """The composed configuration as typed settings. Raises UserError with a line for every error found."""
    data = OmegaConf.to_container(config, resolve=True)
    try:
        return ExamineSettings.model_validate(data)
    except ValidationError as error:
        lines = [describe_error(item, ExamineSettings, data) for item in error.errors()]
        raise UserError("\n".join(lines)) from error


@hydra.main(version_base="1.3", config_path=CONF, config_name="examine/config")
def main(config: DictConfig) -> None:
    try:
        settings = parse(config)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from qnerf.examine.examine import examine  # torch and the models: only once the settings are good

        examine(settings)
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
