"""The base class of all typed settings.

Settings live in the `settings.py` of the package they configure, those of a variant beside what they build. These modules
import neither torch nor diffusers at their top, so that a whole configuration is validated before any model is loaded.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen. Unknown keys are errors, so that a typo is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
