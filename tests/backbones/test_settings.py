from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from qnerf.variants import union, variants

CONF = Path(__file__).parents[2] / "conf" / "backbone"


@pytest.mark.parametrize("name", sorted(variants("backbones")))
def test_shipped_files_hold_every_key_and_are_the_defaults(name: str) -> None:
    written = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    settings = TypeAdapter(union("backbones")).validate_python(written)
    assert settings.name == name
    assert settings.model_dump(mode="json") == written
    assert settings == type(settings)()
