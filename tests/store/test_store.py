"""The store: whole or nothing, damage found, each artefact computed once, and no larger than asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf.common import files
from qnerf.store import entry as entries_of_disk
from qnerf.store.entry import TEMPORARY, Artefact, read_entry
from qnerf.store.key import DONE, Key
from qnerf.store.prune import damaged, entries, prune
from qnerf.store.store import Store

KEY = Key("edit", "abc")
SPAWN = multiprocessing.get_context("spawn")


def artefact(value: float = 1.0) -> Artefact:
    picture = np.full((4, 5, 3), 7, dtype=np.uint8)
    return Artefact({"z": torch.full((8,), value)}, [{"step": 3}], {"step003.png": picture}, seconds=2.5)


def test_an_artefact_comes_back_as_it_was_and_is_computed_once(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def compute() -> Artefact:
        calls.append(1)
        return artefact()

    first, second = store.once(KEY, compute), store.once(KEY, compute)
    assert len(calls) == 1
    assert store.has(KEY)
    assert torch.equal(first.tensors["z"], second.tensors["z"])
    assert second.record == [{"step": 3}]
    assert np.array_equal(second.pictures["step003.png"], first.pictures["step003.png"])
    assert second.seconds == 2.5
    assert {path.suffix for path in store.folder(KEY).iterdir()} == {".safetensors", ".json", ".png"}


def test_seconds_are_measured_where_the_stage_does_not_say(tmp_path: Path) -> None:
    found = Store(tmp_path).once(KEY, lambda: Artefact(record=[time.sleep(0.02)]))
    assert found.seconds >= 0.02


@pytest.mark.parametrize("name", ["tensors.safetensors", "record.json", "step003.png", DONE])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_artefact_is_reported_and_computed_again(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.once(KEY, artefact)
    path = store.folder(KEY) / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(bytes([content[0] ^ 8]) + content[1:])
    again = store.once(KEY, lambda: artefact(2.0))
    assert torch.equal(again.tensors["z"], torch.full((8,), 2.0))
    assert "is damaged" in caplog.text
    assert list(damaged(store)) == []


def _once_in_a_process(root: Path, log: Path) -> float:
    def compute() -> Artefact:
        with log.open("a") as file:
            file.write("computed\n")
        time.sleep(0.5)
        return artefact()

    return float(Store(root).once(KEY, compute).tensors["z"][0])


@pytest.mark.integration
def test_two_processes_compute_a_stage_once(tmp_path: Path) -> None:
    with SPAWN.Pool(2) as pool:
        found = pool.starmap(_once_in_a_process, [(tmp_path / "store", tmp_path / "log")] * 2)
    assert found == [1.0, 1.0]
    assert (tmp_path / "log").read_text() == "computed\n"


def _die_at_sync(root: Path, count: int) -> None:
    """Writes two artefacts, and is killed at the count-th time that something is flushed to disk."""
    real, left = os.fsync, [count]

    def sync(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync
    store = Store(root)
    store.once(KEY, lambda: artefact(2.0))
    store.drop(KEY)
    store.once(KEY, lambda: artefact(3.0))
    os._exit(0)


@pytest.mark.integration
def test_killed_at_any_write_an_artefact_is_old_or_new_or_absent(tmp_path: Path) -> None:
    """Forked, since a kill must not cost an import of torch each time, but from a server without threads: this process has some."""
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload([__name__])
    for count in range(1, 100):
        root = tmp_path / str(count)
        process = fork.Process(target=_die_at_sync, args=(root, count))
        process.start()
        process.join(60)
        store = Store(root)
        found = read_entry(store.folder(KEY))
        assert found is None or found.tensors["z"][0] in (2.0, 3.0)
        again = store.once(KEY, lambda: artefact(4.0))  # the dead process's lock is free
        assert again.tensors["z"][0] == (4.0 if found is None else found.tensors["z"][0])
        if process.exitcode == 0:
            break
    else:
        pytest.fail("the writes have no end")
    assert count > 10, "every file, its folder and the entry's are flushed"


def test_a_failed_computation_leaves_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail() -> Artefact:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        store.once(KEY, fail)
    assert not store.has(KEY)
    assert store.once(KEY, artefact).record == [{"step": 3}]


def test_a_write_that_fails_leaves_the_old_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.once(KEY, artefact)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(entries_of_disk, "write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        entries_of_disk.write_entry(store.folder(KEY), artefact(2.0))
    assert store.load(KEY) is not None
    assert not list(tmp_path.glob(f"*/{TEMPORARY}*"))


def test_pruning_drops_what_was_used_longest_ago_but_nothing_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [Key("edit", str(n)) for n in range(4)]
    for n, key in enumerate(keys):
        store.once(key, artefact)
        os.utime(store.folder(key) / DONE, (n, n))
    store.load(keys[0])  # used just now
    assert [kept.key for kept in entries(store)] == [keys[1], keys[2], keys[3], keys[0]]
    size = entries(store)[0].bytes
    with store.lock(keys[1]):
        dropped = prune(store, 2.5 * size)
    assert [kept.key for kept in dropped] == [keys[2], keys[3]]
    assert store.has(keys[0])
    assert store.has(keys[1])


def test_a_store_stays_within_its_bound_and_keeps_what_it_has_just_computed(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=1.0)
    for n in range(3):
        store.once(Key("edit", str(n)), artefact)
        assert [kept.key.identity for kept in entries(store)] == [str(n)]


def test_leftovers_of_dead_processes_are_swept_when_they_are_old(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name, age in (("old", 9999.0), ("new", 0.0)):
        folder = tmp_path / "edit" / f"{TEMPORARY}{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age, time.time() - age))
    prune(store, 1e9)
    assert [path.name for path in (tmp_path / "edit").iterdir()] == [f"{TEMPORARY}new"]
    assert entries(store) == []


def test_without_its_done_mark_nothing_is_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.once(KEY, artefact)
    (store.folder(KEY) / DONE).unlink()
    assert not store.has(KEY)
    assert store.load(KEY) is None
    assert entries(store) == []


def test_the_done_mark_is_written_last_and_names_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for place, name in ((entries_of_disk, "write_tensors"), (files, "write_json"), (files, "write_image")):
        real = getattr(place, name)
        monkeypatch.setattr(place, name, lambda path, *rest, real=real: (written.append(path.name), real(path, *rest)))
    store = Store(tmp_path)
    store.once(KEY, artefact)
    assert written == ["tensors.safetensors", "record.json", "step003.png", DONE]
    assert set(files.read_json(store.folder(KEY) / DONE)["sha256"]) == set(written[:-1])
