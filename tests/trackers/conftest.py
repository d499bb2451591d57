from tests.sweeps.conftest import place  # noqa: F401  # the scene and the backbone of sweeps
