"""`qnerf store list|check|prune`."""

from pathlib import Path

import pytest
import torch

from qnerf.store.__main__ import main
from qnerf.store.entry import Artefact
from qnerf.store.key import Key
from qnerf.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for name in ("a", "b"):
        store.once(Key("edit", name), lambda: Artefact({"z": torch.zeros(4)}))
    return store


def call(store: Store, *arguments: str) -> int:
    return main(["--store", str(store.root), *arguments])


def test_list_names_every_artefact(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(store, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["edit", "a"], ["edit", "b"]]
    assert lines[2].startswith("2 artefacts")


def test_check_finds_damage_and_drops_it_when_asked(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(store, "check") == 0
    (store.folder(Key("edit", "a")) / "tensors.safetensors").write_bytes(b"")
    assert call(store, "check") == 1
    assert "edit/a: " in capsys.readouterr().out
    assert call(store, "check", "--drop") == 0
    assert call(store, "check") == 0
    assert "0 damaged of 1 artefacts" in capsys.readouterr().out


def test_prune_empties_the_store(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(store, "prune", "--max-gib", "1") == 0
    assert call(store, "prune", "--max-gib", "0") == 0
    assert "2 artefacts dropped" in capsys.readouterr().out
    assert not store.has(Key("edit", "a"))


def test_a_store_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "none"), "list"]) == 2
    assert "no such folder" in capsys.readouterr().err
