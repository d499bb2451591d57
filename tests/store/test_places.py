"""Places that are not a plain local disk: limits, quotas, other file systems, other machines' clocks. A sentence, or it works."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

import pytest
import torch

from qnerf.common.files import now_at, write_json
from qnerf.errors import explain_os_error
from qnerf.runs.beat import note_progress
from qnerf.store.entry import TEMPORARY, Artefact
from qnerf.store.key import Key
from qnerf.store.prune import prune
from qnerf.store.store import Store
from qnerf.sweeps.watching import standings
from qnerf.trackers.together import Together
from tests.trackers.helpers import NotingSettings, run_in

KEY = Key("edit", "abc")
SKEW = 2 * 3600.0  # seconds by which a machine's clock is wrong


def artefact() -> Artefact:
    return Artefact({"z": torch.zeros(4096)}, {"step": 3})


def is_whole_again(store: Store) -> bool:
    """Nothing half is left, the lock is free, and the next attempt succeeds."""
    assert not store.has(KEY)
    assert not list(store.root.glob(f"*/{TEMPORARY}*"))
    return store.once(KEY, artefact).record == {"step": 3}


def test_a_limit_of_file_sizes_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    store, limits = Store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # as `ulimit -f 4`; Python ignores its signal
    try:
        with pytest.raises(OSError, match="File too large") as found:
            store.once(KEY, artefact)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "a file would be larger than this system or `ulimit -f` allows" in str(explain_os_error(found.value))
    assert is_whole_again(store)


@pytest.mark.parametrize(("number", "words"), [(errno.EDQUOT, "the disk quota is used up"), (errno.EROFS, "is read-only")])
def test_a_quota_is_a_sentence_and_leaves_nothing(number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number), "tensors.safetensors")

    store = Store(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)  # where NFS and quotas tell of what was written before
    with pytest.raises(OSError, match="tensors") as found:
        store.once(KEY, artefact)
    monkeypatch.undo()
    assert words in str(explain_os_error(found.value))
    assert is_whole_again(store)


def test_nothing_is_renamed_from_one_file_system_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store and the outputs may each be a file system of their own: a name is only ever changed within its folder."""

    def within(name: str) -> None:
        real = getattr(os, name)

        def rename(old: str | Path, new: str | Path) -> None:
            if Path(old).parent != Path(new).parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real(old, new)

        monkeypatch.setattr(os, name, rename)

    within("rename")
    within("replace")
    store = Store(tmp_path, max_bytes=1.0)
    for identity in ("abc", "abd"):
        store.once(Key("edit", identity), artefact)
    store.drop(Key("edit", "abd"))
    assert not store.has(Key("edit", "abd"))
    write_json(tmp_path / "run" / "metrics.json", {})


def test_an_entry_of_a_containers_image_is_dropped_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, real = Store(tmp_path), Path.rename
    store.once(KEY, artefact)

    def rename(self: Path, target: Path) -> Path:
        if self == store.folder(KEY):  # a lower layer of an overlay
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    store.drop(KEY)
    assert is_whole_again(store)


def test_a_machine_whose_clock_is_wrong_takes_no_other_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine writes an artefact and computes a cell just now; this one's clock is two hours ahead."""
    store, sweep, cell = Store(tmp_path / "store"), tmp_path / "sweeps" / "smoke-1a2b", tmp_path / "smoke" / "a"
    unfinished = store.root / "edit" / f"{TEMPORARY}other"
    for folder in (unfinished, cell):
        folder.mkdir(parents=True)
    cells = [{"identity": "a", "folder": "smoke/a", "command": "python -m qnerf.run seed=0"}]
    write_json(sweep / "sweep.json", {"command": "", "swept": {"seed": ["0"]}, "cells": cells})
    note_progress(cell, "editing: full", 0.5, 30.0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + SKEW)
    prune(store, 1e9)
    assert unfinished.exists()
    assert standings(sweep)[0].works
    assert now_at(tmp_path / "nowhere") > real() + SKEW / 2, "this machine's, where the disk tells none"


def test_a_disk_that_is_full_at_the_end_leaves_no_tracker_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NotingSettings.built.clear()
    tracker = Together(NotingSettings(), run_in(tmp_path))

    def full(entry: object) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tracker.journal, "write", full)
    with pytest.raises(OSError, match="No space left"):
        tracker.finish({}, 1)
    assert NotingSettings.built[0].told == [("finish", {}, 1)]
