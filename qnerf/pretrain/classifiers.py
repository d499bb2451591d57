"""stage=classifiers: their network on true renders, lightly disturbed so that a generator's texture does not confuse it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from qnerf.classifiers.accuracy import LEAST_PIXELS, accuracy, counted_parts
from qnerf.classifiers.classifiers import ASSET, Classifiers, save_classifiers
from qnerf.classifiers.labels import BACKGROUND, FLOOR, OTHER, UNSURE, UNTOLD, LabelledView, label_sample, silhouettes
from qnerf.classifiers.net import WIDTHS, ClassifierNet
from qnerf.common.places import resolve
from qnerf.devices import pick_device
from qnerf.metrics.overlap import mask_iou
from qnerf.pretrain.data import Shares, check_seed, load_batch
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import ClassifiersStage
from qnerf.pretrain.sheets import write_sheet
from qnerf.pretrain.vae import TEST_SEED
from qnerf.scenes.procedural.samples import SEED_STRIDE
from qnerf.scenes.procedural.world import KINDS, WORLDS, check_kind


@dataclass(frozen=True)
class LabelledBatch:
    """images: (B, 3, S, S) in [0, 1]. parts: (B, S, S) uint8. kinds: (B,). names: (B, parts)."""

    images: Tensor
    parts: Tensor
    kinds: Tensor
    names: Tensor


class LabelledSamples(Dataset[LabelledView]):
    """True renders of a world with their labels, by index, each of a kind drawn by `kinds`' shares (none: all alike).

    Raises UserError for a held-out seed in training, for another in measuring, and for a kind that the world lacks.
    """

    def __init__(self, seed: int, size: int, world: int, kinds: dict[str, float] | None = None, heldout: bool = False) -> None:
        check_seed(seed, heldout)
        kinds = kinds or dict.fromkeys(WORLDS[world], 1.0)
        for kind in kinds:
            check_kind(kind, world)
        self.seed, self.size, self.world, self.heldout = seed, size, world, heldout
        self.kinds = Shares(kinds)

    def __getitem__(self, index: int) -> LabelledView:
        kind = self.kinds.draw(np.random.default_rng([self.seed, index]))
        return label_sample(self.seed * SEED_STRIDE + index, self.size, kind, self.world, self.heldout)

    def collate(self, items: list[LabelledView]) -> LabelledBatch:
        images, parts, names = (torch.from_numpy(np.stack([getattr(i, key) for i in items])) for key in ("image", "parts", "names"))
        return LabelledBatch(images, parts, torch.tensor([KINDS.index(item.kind) for item in items]), names)


class ClassifiersTrainee:
    """The network and the sum of its four heads' cross-entropies."""

    def __init__(self, settings: ClassifiersStage, widths: tuple[int, ...] = WIDTHS, size: int = 128, tests: int = 128) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, "stage.device")
        torch.manual_seed(settings.seed)
        self.net = ClassifierNet(widths).to(self.device)
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.net.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        self.modules = nn.ModuleDict({"classifiers": self.net}).train()
        # A collar has a hundredth of the floor's pixels.
        self.weights = torch.tensor([1.0 if part in (FLOOR, BACKGROUND) else 3.0 for part in range(OTHER + 1)], device=self.device)
        kinds = {**settings.kinds} if settings.kinds else None
        self.samples = LabelledSamples(settings.seed, size, settings.world, kinds)
        self.tests = load_batch(LabelledSamples(TEST_SEED, size, settings.world, kinds, heldout=True), range(tests))

    def loss(self, batch: LabelledBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        s = self.settings
        images, parts = mirror(batch.images, batch.parts, generator)
        images = disturb(images, generator, s.blur, s.blotches, s.noise).to(self.device).contiguous(memory_format=self.layout)
        parts, kinds = parts.to(self.device), batch.kinds.to(self.device)
        # Half of the pictures teach colours by their true part maps: else they are not learnt before parts are.
        hinted = (torch.rand(len(images), generator=generator) < 0.5).to(self.device)
        hints = torch.where(hinted[:, None, None], parts, UNSURE)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=s.precision == "bfloat16"):
            seen = self.net(images, hints)
        names = torch.where(counted_parts(batch.names, batch.parts, LEAST_PIXELS // 2), batch.names, UNTOLD).to(self.device)
        losses = {
            "part": F.cross_entropy(seen.parts, parts[:, 1::2, 1::2].long(), self.weights, ignore_index=UNSURE),
            "silhouette": F.binary_cross_entropy_with_logits(seen.silhouettes, silhouettes(parts).float()),
            "name": F.cross_entropy(seen.names.flatten(0, 1), names.flatten(), ignore_index=UNTOLD),
            "kind": F.cross_entropy(seen.kinds, kinds),
        }
        right = accuracy(seen.names.argmax(2), names, names != UNTOLD)
        loss = torch.stack(list(losses.values())).sum()
        return loss, {**{name: float(value.detach()) for name, value in losses.items()}, "named": right}

    def sheet(self, path: Path) -> dict[str, float]:
        """Rows: true renders of held-out scenes, and the silhouettes found in them. Figures of all test pictures."""
        tests = self.tests
        verdict = Classifiers(self.net, "training", self.device).look(tests.images)
        self.net.requires_grad_(True)
        write_sheet(path, [list(tests.images[:10]), [mask.float().expand(3, -1, -1) for mask in verdict.silhouettes[:10]]])
        return {
            "kinds": accuracy(verdict.kinds, tests.kinds),
            "colours": accuracy(verdict.names, tests.names, counted_parts(tests.names, tests.parts)),
            "iou": mask_iou(verdict.silhouettes, silhouettes(tests.parts)).nanmean().item(),
        }


def mirror(images: Tensor, parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) and part maps (B, S, S), half of them, drawn at random, seen in a mirror: no label is of a side."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    flipped = torch.where(flip[:, None, None, None], images.flip(-1), images)
    return flipped, torch.where(flip[:, None, None], parts.flip(-1), parts)


def disturb(images: Tensor, generator: torch.Generator, blur: float, blotches: float, noise: float) -> Tensor:
    """Images (B, 3, S, S) with some blur, smooth colour noise and white noise each, by amounts drawn evenly up to the bounds."""
    count, size = len(images), images.shape[-1]
    amounts = torch.rand((3, count, 1, 1, 1), generator=generator)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, blurred, blur * amounts[0])
    coarse = torch.randn((count, 3, size // 8, size // 8), generator=generator)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    white = torch.randn(images.shape, generator=generator)
    return (images + blotches * amounts[1] * smooth + noise * amounts[2] * white).clamp(0, 1)


def train_classifiers(settings: ClassifiersStage, widths: tuple[int, ...] = WIDTHS, size: int = 128, tests: int = 128) -> Path:
    """Trains and writes the averaged classifiers; returns their file."""
    trainee = ClassifiersTrainee(settings, widths, size, tests)
    average = train(trainee, settings)
    path = resolve(settings.weights, "stage.weights") if settings.weights else Path(settings.output) / ASSET.name
    with average.applied():
        save_classifiers(trainee.net, path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)
    return path
