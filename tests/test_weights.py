"""Pickled weights become files that are read, and programs among them are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qnerf import weights
from qnerf.common.hashes import checksum


def test_a_checkpoint_becomes_a_sealed_file_and_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    tensors = {"control_model.zero_convs.0.0.weight": torch.rand(2), name: torch.rand(3, 768)}
    source = tmp_path / "control.pth"
    torch.save({"state_dict": tensors, "epoch": 3}, source)
    assert weights.main(["import", str(source), str(tmp_path / "out")]) == 0
    written = tmp_path / "out" / "control.safetensors"
    assert capsys.readouterr().out.endswith("controlnet, 2 tensors, texts of width 768 (Stable Diffusion 1.x).\n")
    assert all(torch.equal(x, tensors[key]) for key, x in load_file(written).items())
    seal = json.loads((tmp_path / "out" / "control.imported.json").read_text())
    assert seal == {"from": "control.pth", "sha256_of_source": checksum(source), "sha256": checksum(written)}
    assert weights.main(["import", str(source), str(tmp_path / "out")]) == 2
    assert "exists: delete it" in capsys.readouterr().err
    assert weights.main(["import", str(source), str(written)]) == 2
    assert "control.safetensors cannot be made a folder" in capsys.readouterr().err


def test_names_of_folders_become_those_that_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.rand(2)}, tmp_path / "pytorch_model.bin")
    weights.import_weights(tmp_path / "pytorch_model.bin", tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_a_web_interfaces_textual_inversion_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = torch.rand(2, 768, requires_grad=True)
    content = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": vectors}, "name": "my-style", "step": 500}
    torch.save(content, tmp_path / "style.pt")
    assert weights.main(["import", str(tmp_path / "style.pt"), str(tmp_path)]) == 0
    assert "embedding, 2 tokens of width 768, in prompts 'my-style'" in capsys.readouterr().out
    (name, found), *others = load_file(tmp_path / "style.safetensors").items()
    assert (name, others) == ("my-style", [])
    assert torch.equal(found, vectors.detach())


class Program:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize("content", [{"a": Program()}, {"a": 3}, None])
def test_programs_and_empty_files_are_refused(content: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "bad.ckpt"
    if content is None:
        source.write_bytes(b"half")
    else:
        torch.save(content, source)
    assert weights.main(["import", str(source), str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("qnerf: ")
    assert "run" not in said.out
    assert not (tmp_path / "out").exists()
    assert weights.main(["import"]) == 2
