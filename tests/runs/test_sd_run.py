"""The README's command for photographs, on random models of Stable Diffusion's shapes: from files to the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from qnerf.config import parse
from qnerf.planning.light_checks import check_files
from qnerf.run import CONFIGS
from qnerf.runs import pipeline
from tests.backbones import sd_models as sd

SMALL = (
    *("scene.size=64", "scene.views=4", "backbone.image_size=64", "steps=4", "schedule.interval=2", "metrics=quick", "device=cpu"),
    *("field=hash_grid", "field.optimiser.iterations=3", "source_field.optimiser.iterations=5"),
    *("scene.source_prompt='a fox'", "scene.target_prompt='a red fox'", "negative_prompt=snow"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openpose", "depth"])
def test_the_command_for_photographs_ends_with_its_report(kind: str, tmp_path: Path) -> None:
    model = sd.build_folder(tmp_path / "sd15")
    net = shutil.move(sd.controlnet_of(model), tmp_path / f"control_v11_{kind}")
    own = [f"backbone.model={model}", f"backbone.controlnet={net}", "scene.path=asset:puppet_a", f"output_dir={tmp_path}/out"]
    further = f"backbone.more_controlnets=[{{controlnet:{net},kind:openpose,scale:0.5,stop:0.5}}]"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", ["+exp=photographs", *own, *SMALL, *([further] if kind == "depth" else [])]))
    assert check_files([settings]) == []
    folder = pipeline.run(settings, "python -m qnerf.run +exp=photographs")
    assert (folder / "report.html").is_file()
    assert len(list((folder / "edited").glob("*.png"))) == 4
    assert (tmp_path / "out" / "store" / "source_depth").exists() == (kind == "depth")
