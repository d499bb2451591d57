"""The shipped metrics configs name every setting; `default` is what the class says without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from qnerf.metrics.settings import MetricsSettings

CONF = Path(__file__).parents[2] / "conf" / "metrics"


@pytest.mark.parametrize("name", ["default", "quick"])
def test_a_config_shows_every_setting(name: str) -> None:
    document = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(document, dict)
    assert set(document) == set(MetricsSettings.model_fields)
    settings = MetricsSettings.model_validate(document)
    assert (settings == MetricsSettings()) == (name == "default")


@pytest.mark.parametrize("wrong", [{"groups": ["fid"]}, {"depth_tolerance": 0}, {"heldout_every": 1}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MetricsSettings.model_validate(wrong)
