"""What accompanies the stages of an edit, in a run or from Python: where their results are kept, and who hears of progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from qnerf.runs.progress import NoProgress, Progress
from qnerf.runs.stages import Stages
from qnerf.store.entry import Artefact
from qnerf.store.key import Key
from qnerf.store.store import Store


@dataclass(frozen=True)
class StageStore:
    """A store, and the keys under which it has the results of the stages of some settings."""

    store: Store
    stages: Stages


@dataclass(frozen=True)
class Workshop:
    """Hands results over from the store, or has them computed and kept there. kept: none: everything is computed."""

    kept: StageStore | None = None
    progress: Progress = field(default_factory=NoProgress)

    def once(self, key: Callable[[Stages], Key], compute: Callable[[], Artefact]) -> Artefact:
        """A stage's result, with the seconds that it took to compute, now or earlier. key: the stage's."""
        if self.kept is not None:
            return self.kept.store.once(key(self.kept.stages), compute)
        started = time.monotonic()
        found = compute()
        return replace(found, seconds=found.seconds or time.monotonic() - started)


ALONE = Workshop()
"""Nothing is kept, and nobody is told."""
