import pytest
import torch

from qnerf.devices import pick_device
from qnerf.errors import UserError


def test_the_device_that_is_named_or_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(
        UserError, match=r"^stage.device: cuda is not available \(PyTorch finds 0 .*set stage.device=auto or stage.device=cpu$"
    ):
        pick_device("cuda", "stage.device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="cuda:2 is not available"):
        pick_device("cuda:2")
