"""The trained classifiers: kinds, named colours, silhouettes and features of pictures.

They have seen true renders of world 2 only, never a generator's pictures (`python -m qnerf.pretrain stage=classifiers`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from qnerf.classifiers.net import ClassifierNet
from qnerf.common.finite import require_finite
from qnerf.common.hashes import LENGTH, checksum
from qnerf.common.places import ASSETS
from qnerf.errors import UserError

ASSET = ASSETS / "classifiers" / "classifiers.safetensors"


@dataclass(frozen=True)
class Verdict:
    """Of N pictures of side S. kinds: (N,) indices of KINDS. names: (N, parts) indices of `NAMES`, an answer for every part,
    there or not. silhouettes: (N, S, S) bool. features: (N, F)."""

    kinds: Tensor
    names: Tensor
    silhouettes: Tensor
    features: Tensor


class Classifiers:
    """The network, frozen. revision: hash of its weights."""

    def __init__(self, net: ClassifierNet, revision: str, device: torch.device | str = "cpu") -> None:
        self.net = net.to(device).eval().requires_grad_(False)
        self.revision, self.device = revision, torch.device(device)

    @torch.no_grad()
    def look(self, images: Tensor, chunk: int = 32) -> Verdict:
        """The verdict, on the CPU, on images (N, 3, S, S) in [0, 1], S a multiple of 16 (they were trained at 128). Raises
        UserError for pictures with NaN, of which every comparison would say that nothing is there."""
        require_finite(images, "classifying: pictures", [f"picture {i}" for i in range(len(images))])
        parts: list[Verdict] = []
        for some in images.split(chunk):
            seen = self.net(some.to(self.device))
            answer = Verdict(seen.kinds.argmax(1), seen.names.argmax(2), seen.silhouettes > 0, seen.features)
            parts.append(answer)
        return Verdict(*(torch.cat([getattr(part, name) for part in parts]).cpu() for name in Verdict.__dataclass_fields__))


def save_classifiers(net: ClassifierNet, path: Path = ASSET) -> None:
    """Float16 weights with the widths in the header, written whole or not at all."""
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, {"widths": json.dumps(net.widths)})
    partial.replace(path)


def load_classifiers(path: Path = ASSET, device: torch.device | str = "cpu") -> Classifiers:
    """Raises UserError where there are none or the file is not theirs."""
    try:
        with safe_open(path, framework="pt") as file:
            widths = tuple(json.loads((file.metadata() or {})["widths"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        net = ClassifierNet(widths)
        net.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()})
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing, expected the classifiers' weights: "
            "run `python -m qnerf.pretrain stage=classifiers`, or give another file with classifiers=…"
        ) from error
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} does not hold the classifiers' weights: "
            "run `python -m qnerf.pretrain stage=classifiers` again, or give another file with classifiers=…"
        ) from error
    return Classifiers(net, checksum(path)[:LENGTH], device)
