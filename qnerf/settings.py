"""The base class of all typed settings.

Settings live in the `settings.py` of the package they configure. Those modules import neither torch nor diffusers,
so that a whole configuration is validated in a fraction of a second, before any model is loaded.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, and unknown keys are errors: a typo must never be dropped silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")
