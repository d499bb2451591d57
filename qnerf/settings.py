"""The base class of all typed settings.

Settings live in the `settings.py` of the package they configure, those of a variant beside what they build. These modules
import neither torch nor diffusers at their top, so that a whole configuration is validated before any model is loaded.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, and unknown keys are errors: a typo must never be dropped silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")
