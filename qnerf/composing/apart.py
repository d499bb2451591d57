"""A Hydra of our own for a while: the caller's, in an application or a notebook of Hydra's own, is as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase

GLOBAL = (GlobalHydra, JobRuntime, VersionBase)
"""What initialising Hydra changes in the process."""


@contextmanager
def hydra_apart(folder: Path) -> Iterator[None]:
    """Inside, `hydra.compose` composes the configs of `folder`, whether or not Hydra was initialised before."""
    kept = {kind: Singleton._instances.pop(kind) for kind in GLOBAL if kind in Singleton._instances}
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            yield
    finally:
        for kind in GLOBAL:
            Singleton._instances.pop(kind, None)
        Singleton._instances.update(kept)
