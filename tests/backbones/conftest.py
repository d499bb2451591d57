"""Random models of Stable Diffusion's shapes, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backbones import sd_models as sd


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in diffusers' layout, their ControlNets beside them; tests change copies alone."""
    home = tmp_path_factory.mktemp("models")
    return {name: sd.build_folder(home / name, shape) for name, shape in (("sd15", sd.SD15), ("sd21", sd.SD21))}
