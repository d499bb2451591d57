from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from qnerf.fields.settings import EncodingSettings, FieldSettings, RgbFieldSettings, SourceFieldSettings

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize("name", ["hash_grid", "sd15"])
def test_shipped_field_configs_validate_and_name_every_key(name: str) -> None:
    found = yaml.safe_load((CONF / "field" / f"{name}.yaml").read_text())
    assert FieldSettings.model_validate(found).model_dump() == found
    assert set(found) == set(FieldSettings.model_fields)


def test_shipped_rgb_field_config_is_the_default() -> None:
    found = yaml.safe_load((CONF / "rgb_field" / "hash_grid.yaml").read_text())
    assert RgbFieldSettings.model_validate(found).model_dump() == found == RgbFieldSettings().model_dump()


def test_shipped_source_field_config_is_the_default() -> None:
    found = yaml.safe_load((CONF / "source_field" / "hash_grid.yaml").read_text())
    assert SourceFieldSettings.model_validate(found).model_dump() == found == SourceFieldSettings().model_dump()


def test_default_field_config_is_the_default() -> None:
    found = yaml.safe_load((CONF / "field" / "hash_grid.yaml").read_text())
    assert FieldSettings.model_validate(found) == FieldSettings()


def test_impossible_grids_are_refused() -> None:
    with pytest.raises(ValidationError, match="finest_resolution"):
        EncodingSettings(base_resolution=64, finest_resolution=32)
    with pytest.raises(ValidationError):
        FieldSettings.model_validate({"iterations": 5})
