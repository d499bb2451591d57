"""Two processes train as one does: the same weights from the same batches, and one set of files."""

from __future__ import annotations

import json
import os
import socket
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from qnerf.errors import UserError
from qnerf.pretrain.data import Batch, PuppetSamples
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import VaeStage
from qnerf.pretrain.team import Team


class Shading:
    """Learns the images' mean colour as a function of the control's; needs no randomness, so that a batch can be cut at will."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.modules = nn.ModuleDict({"linear": nn.Linear(3, 3), "unused": nn.Linear(2, 2)})
        self.samples = PuppetSamples(3, 32, {"bones": 1.0})

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        error = self.modules["linear"](batch.controls.mean(dim=(2, 3))) - batch.images.mean(dim=(2, 3))
        return error.square().mean(), {}

    def sheet(self, path: Path) -> dict[str, float]:
        path.write_text("drawn")
        return {}


def settings(output: Path, **changes: object) -> VaeStage:
    common = {"samples": 24, "batch": 4, "warmup": 1, "workers": 0, "log_steps": 1, "clip": 0.05}
    return VaeStage.model_validate({**common, "output": str(output), **changes})


def member(rank: int, output: Path, port: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    trainee = Shading()
    train(trainee, settings(output))
    torch.save(trainee.modules.state_dict(), output / f"weights_{rank}.pt")
    os._exit(0)  # the interpreter's own end once aborted in a thread of gloo's, after all was written: not what is tested


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    alone = Shading()
    train(alone, settings(tmp_path / "alone"))
    (tmp_path / "both").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(member, (tmp_path / "both", port), nprocs=2)
    first, second = (torch.load(tmp_path / "both" / f"weights_{rank}.pt") for rank in (0, 1))
    for name, weights in alone.modules.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weights, rtol=0, atol=1e-6)
    assert not torch.equal(alone.modules.state_dict()["linear.weight"], Shading().modules.state_dict()["linear.weight"])
    lines = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines if "loss" in line] == [4, 8, 12, 16, 20, 24]  # the leader alone writes
    assert [line["summary"]["samples"] for line in lines if "summary" in line] == [24]


def test_every_sample_of_a_batch_goes_to_one_process() -> None:
    parts = [Team(rank, 3).part(list(range(6))) for rank in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(6))
    assert [len(part) for part in parts] == [2, 2, 2]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnerf.pretrain.loop.team", lambda: nullcontext(Team(0, 2)))
    with pytest.raises(UserError, match=r"stage\.batch is 3, expected a multiple of the 2 processes"):
        train(Shading(), settings(tmp_path, batch=3))
