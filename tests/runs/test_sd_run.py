"""The README's command for photographs, on random models of Stable Diffusion's shapes: from files to the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from qnerf.config import parse
from qnerf.planning.light_checks import check_files
from qnerf.run import CONFIGS
from qnerf.runs import pipeline
from qnerf.scenes.settings import width_height
from tests.backbones import sd_models as sd

SMALL = (
    *("scene.views=4", "steps=4", "schedule.interval=2", "metrics=quick", "device=cpu"),
    *("field=hash_grid", "field.optimiser.iterations=3", "source_field.optimiser.iterations=5"),
    *("scene.source_prompt='a fox'", "scene.target_prompt='a red fox'", "negative_prompt=snow"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("openpose", "64"), ("depth", "[128,64]")])
def test_the_command_for_photographs_ends_with_its_report(kind: str, size: str, tmp_path: Path) -> None:
    model = sd.build_folder(tmp_path / "sd15")
    net = shutil.move(sd.controlnet_of(model), tmp_path / f"control_v11_{kind}")
    own = [
        f"backbone.model={model}",
        f"backbone.controlnet={net}",
        f"scene.size={size}",
        "scene.path=asset:puppet_a",
        f"output_dir={tmp_path}/out",
    ]
    further = f"backbone.more_controlnets=[{{controlnet:{net},kind:openpose,scale:0.5,stop:0.5}}]"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", ["+exp=photographs", *own, *SMALL, *([further] if kind == "depth" else [])]))
    assert check_files([settings]) == []
    folder = pipeline.run(settings, "python -m qnerf.run +exp=photographs")
    assert (folder / "report.html").is_file()
    edited = [Image.open(path).size for path in (folder / "edited").glob("*.png")]
    assert edited == 4 * [width_height(settings.scene.size)]
    assert (tmp_path / "out" / "store" / "source_depth").exists() == (kind == "depth")
