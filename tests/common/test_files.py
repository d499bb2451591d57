from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf.common import files
from qnerf.common.tensors import read_tensors, write_tensors


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
    tensors |= {"part of b": tensors["b"][1:], "b again": tensors["b"].view(2, 2), "none": torch.empty(0, 3), "nor": torch.empty(0)}
    write_tensors(tmp_path / "t.safetensors", tensors)
    read = read_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
