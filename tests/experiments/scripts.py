"""Scripts of experiments/ that are run by path, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{Path(script).stem}", EXPERIMENTS / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their types up
    spec.loader.exec_module(module)
    return module
