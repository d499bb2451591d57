"""The entry: `python -m qnerf.pretrain stage=vae|decoder|diffusion|unet|control|classifiers|export [stage.key=value …]`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from qnerf.common import renamed
from qnerf.common.messages import validated
from qnerf.common.places import configs
from qnerf.errors import told_in_a_sentence
from qnerf.pretrain.settings import ClassifiersStage, DecoderStage, DiffusionStage, ExportStage, PretrainSettings, VaeStage

CONF = str(configs() / "pretrain")


def parse(config: DictConfig) -> PretrainSettings:
    """The composed configuration as typed settings, every error in one message."""
    return validated(PretrainSettings, OmegaConf.to_container(config, resolve=True))


def run(stage: VaeStage | DecoderStage | DiffusionStage | ClassifiersStage | ExportStage) -> None:
    import torch

    if not isinstance(stage, ExportStage) and stage.threads:
        torch.set_num_threads(stage.threads)
    if isinstance(stage, VaeStage):
        from qnerf.pretrain.vae import train_vae

        train_vae(stage)
    elif isinstance(stage, DecoderStage):
        from qnerf.pretrain.decoder import train_decoder

        train_decoder(stage)
    elif isinstance(stage, DiffusionStage):
        from qnerf.pretrain.diffusion import train_diffusion

        train_diffusion(stage)
    elif isinstance(stage, ClassifiersStage):
        from qnerf.pretrain.classifiers import train_classifiers

        train_classifiers(stage)
    else:
        from qnerf.pretrain.export import export

        export(stage)


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def main(config: DictConfig) -> None:
    def work() -> int:
        run(parse(config).stage)
        return 0

    if code := told_in_a_sentence(work, "set another stage.output=…"):
        sys.exit(code)


if __name__ == "__main__":
    stages = {f"stage={old}": f"stage={new}" for old, new in renamed.of_kind("stage").items()}
    if answers := renamed.answer_words(sys.argv[1:], stages):
        print("\n".join(f"qnerf: {answer}" for answer in answers), file=sys.stderr)
        sys.exit(2)
    main()
