"""The entry: `python -m qnerf.evaluate_backbone [key=value …]`; conf/evaluate_backbone/config.yaml lists
the settings."""

from __future__ import annotations

import os
import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from qnerf.common import renamed
from qnerf.common.messages import validated
from qnerf.common.places import configs
from qnerf.errors import told_in_a_sentence
from qnerf.evaluate_backbone.settings import EvaluateSettings


def parse(config: DictConfig) -> EvaluateSettings:
    """The composed configuration as typed settings. Raises UserError with a line for every error found."""
    return validated(EvaluateSettings, OmegaConf.to_container(config, resolve=True))


@hydra.main(version_base="1.3", config_path=str(configs()), config_name="evaluate_backbone/config")
def main(config: DictConfig) -> None:
    def work() -> int:
        settings = parse(config)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from qnerf.evaluate_backbone.evaluate import evaluate_backbone  # torch and the models: only once the settings are good

        evaluate_backbone(settings)
        return 0

    if code := told_in_a_sentence(work):
        sys.exit(code)


if __name__ == "__main__":
    if answers := renamed.answer_words(sys.argv[1:], renamed.of_kind("evaluation")):
        print("\n".join(f"qnerf: {answer}" for answer in answers), file=sys.stderr)
        sys.exit(2)
    main()
