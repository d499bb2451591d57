import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.runs import files
from qnerf.runs.folder import ArtefactStore, RunFolder


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    files.write_json(target, {"a": 1})

    def fail_halfway(temporary: Path) -> None:
        temporary.write_text('{"a": ')
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_whole(target, fail_halfway)
    assert files.read_json(target) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_json_has_null_for_what_is_not_a_finite_number(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"psnr": float("inf"), "list": (1.0, float("nan")), "text": "é"})
    assert files.read_json(tmp_path / "x.json") == {"psnr": None, "list": [1.0, None], "text": "é"}


def test_images_and_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    files.write_image(tmp_path / "view.png", pixels)
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(tmp_path / "view.png")), pixels)
    tensors = {"a": torch.randn(3, 2).T, "b": torch.arange(4)}
    tensors["part of b"] = tensors["b"][1:]
    files.write_tensors(tmp_path / "t.safetensors", tensors)
    read = files.read_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_an_artefact_is_computed_once(tmp_path: Path) -> None:
    store, calls = ArtefactStore(tmp_path), []

    def compute() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"z": torch.ones(2)}

    first, second = store.tensors("edit", compute), store.tensors("edit", compute)
    assert len(calls) == 1
    assert torch.equal(first["z"], second["z"])


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_truncated_artefact_is_reported_and_computed_again(keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ArtefactStore(tmp_path)
    store.tensors("edit", lambda: {"z": torch.zeros(8)})
    path = tmp_path / "edit.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    again = store.tensors("edit", lambda: {"z": torch.ones(8)})
    assert torch.equal(again["z"], torch.ones(8))
    assert "edit.safetensors is damaged" in caplog.text
    assert torch.equal(files.read_tensors(path)["z"], torch.ones(8))


def test_damaged_json_counts_as_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ArtefactStore(tmp_path)
    assert store.load_json("metrics") is None
    assert not caplog.records
    (tmp_path / "metrics.json").write_text('{"psnr": 3')
    assert store.load_json("metrics") is None
    assert "metrics.json is damaged" in caplog.text
    store.save_json("metrics", {"psnr": 3.0})
    assert store.load_json("metrics") == {"psnr": 3.0}


def test_done_is_a_mark_that_outlives_the_lock(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        assert not folder.is_done
        folder.mark_done()
    with RunFolder(tmp_path / "run") as folder:
        assert folder.is_done


def _try_to_enter(path: Path) -> str:
    try:
        with RunFolder(path):
            return "entered"
    except UserError as error:
        return str(error)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    import os

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with RunFolder(tmp_path / "run"):
            answer = pool.apply(_try_to_enter, (tmp_path / "run",))
        assert f"process {os.getpid()} is running this very run" in answer
        assert pool.apply(_try_to_enter, (tmp_path / "run",)) == "entered"


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"), RunFolder(tmp_path / "file" / "run"):
        pass
