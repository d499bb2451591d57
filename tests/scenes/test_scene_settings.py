"""The shipped scene configs name every setting, and wrong values are refused with their key."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from qnerf.scenes.settings import SceneSettings

CONF = Path(__file__).parents[2] / "conf" / "scene"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_shows_every_setting(path: Path) -> None:
    document = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(document, dict)
    assert set(document) == set(SceneSettings.model_fields)
    SceneSettings.model_validate(document)


@pytest.mark.parametrize(
    "wrong", [{"size": 100}, {"size": 16}, {"views": 1}, {"radius": 0}, {"focus": [1, 2]}, {"path": ""}, {"paht": "x"}]
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        SceneSettings.model_validate({"path": "scene", **wrong})
    assert caught.value.errors()[0]["loc"][0] == next(iter(wrong))
