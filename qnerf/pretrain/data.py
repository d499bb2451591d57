"""Streaming training data: sample number i follows from (seed, i) alone, whatever worker renders it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qnerf.classifiers.labels import OTHER, part_map
from qnerf.errors import UserError
from qnerf.pretrain.grounding import words_of_parts
from qnerf.pretrain.photographs import photograph
from qnerf.pretrain.team import Team
from qnerf.scenes.procedural.samples import HELDOUT_SEEDS, SEED_STRIDE, draw_sample, render_sample
from qnerf.scenes.procedural.world import WORLDS, check_kind

PART_CELL = 4  # pixels a side of a part map's cell: one latent pixel


@dataclass(frozen=True)
class Batch:
    """images, controls: (B, 3, S, S) float32 in [0, 1]. captions: B texts. details: B grades of the controls.

    words: for each word of each caption, the part that it speaks of (`words_of_parts`). parts: (B, s, s) part maps.
    """

    images: Tensor
    controls: Tensor
    captions: list[str]
    details: list[str]
    words: list[list[int]]
    parts: Tensor


BatchT_co = TypeVar("BatchT_co", covariant=True)


class Samples(Protocol[BatchT_co]):
    """What a training streams: samples by index, and the batch that some of them make."""

    def __getitem__(self, index: int) -> Any: ...

    def collate(self, items: list[Any]) -> BatchT_co: ...


@dataclass(frozen=True)
class Item:
    """One sample of a `Batch`."""

    image: np.ndarray
    control: np.ndarray
    caption: str
    detail: str
    words: list[int]
    parts: np.ndarray


class PuppetSamples(Dataset[Item]):
    """Samples of a world by index, each of a kind drawn by `kinds`' shares with one control of a grade drawn by `details`'.

    kinds: None, all of the world alike. heldout: whether the samples are for measuring, of a seed in `HELDOUT_SEEDS`; no
    training may have such a seed, and no measurement another. Raises UserError for a seed of the wrong side, for an unknown
    world, and for a kind that it lacks.
    """

    def __init__(
        self,
        seed: int,
        size: int,
        details: dict[str, float],
        world: int = 1,
        kinds: dict[str, float] | None = None,
        heldout: bool = False,
    ) -> None:
        check_seed(seed, heldout)
        kinds = kinds or dict.fromkeys(WORLDS.get(world, ("figure",)), 1.0)
        for kind in kinds:
            check_kind(kind, world)
        self.seed, self.size, self.world, self.heldout = seed, size, world, heldout
        self.details, self.kinds = Shares(details), Shares(kinds)

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng([self.seed, index])
        detail, kind = self.details.draw(rng), self.kinds.draw(rng)
        seed = self.seed * SEED_STRIDE + index
        sample = render_sample(seed, self.size, kind, self.world, (detail,), self.heldout)
        parts = part_map(*draw_sample(seed, max(self.size // PART_CELL, 1), kind, self.world))
        words = words_of_parts(sample.caption, sample.names)
        return Item(sample.image, sample.controls[detail], sample.caption, detail, words, parts)

    def collate(self, items: list[Item]) -> Batch:
        images, controls, parts = (
            torch.from_numpy(np.stack([getattr(i, k) for i in items])) for k in ("image", "control", "parts")
        )
        captions, details, words = ([getattr(item, key) for item in items] for key in ("caption", "detail", "words"))
        return Batch(images, controls, captions, details, words, parts)


class WithPhotographs(PuppetSamples):
    """Samples of which a `share` are procedural photographs, without caption and control."""

    share: float = 0.0

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng([self.seed, index, 1])
        if rng.random() >= self.share:
            return super().__getitem__(index)
        cells = max(self.size // PART_CELL, 1)
        blank = np.zeros((3, self.size, self.size), np.float32)
        return Item(photograph(rng, self.size), blank, "", "bones", [], np.full((cells, cells), OTHER, np.uint8))


class Repeated(Dataset[Item]):
    """The first `count` of some samples again and again, each rendered once for each process and kept in half precision.

    A control is not kept: all are blank. None: every sample is a new one.
    """

    def __init__(self, samples: PuppetSamples, count: int | None) -> None:
        self.samples, self.count = samples, count
        self.kept: dict[int, Item] = {}

    def __getitem__(self, index: int) -> Item:
        if self.count is None:
            return self.samples[index]
        index %= self.count
        if index not in self.kept:
            item = self.samples[index]
            self.kept[index] = replace(item, image=item.image.astype(np.float16), control=np.zeros((3, 1, 1), np.float32))
        return replace(self.kept[index], image=self.kept[index].image.astype(np.float32))

    def collate(self, items: list[Item]) -> Batch:
        return self.samples.collate(items)


def check_seed(seed: int, heldout: bool) -> None:
    """Raise UserError where a training would have a seed that is held out for measuring, or a measurement another."""
    if (seed in HELDOUT_SEEDS) != heldout:
        span = f"{HELDOUT_SEEDS.start} to {HELDOUT_SEEDS.stop - 1}"
        use, cure = ("measuring", "one of them") if heldout else ("training", "another")
        raise UserError(f"Seed {seed} cannot be used for {use}: seeds {span} are held out for measuring, choose {cure}.")


class Shares:
    """Names to draw from, each in proportion to its share."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.names = list(shares)
        self.shares = np.array([shares[name] for name in self.names]) / sum(shares.values())

    def draw(self, rng: np.random.Generator) -> str:
        return str(rng.choice(self.names, p=self.shares))


def stream(
    samples: Samples[BatchT_co], batch: int, first_step: int, workers: int, members: Team | None = None
) -> Iterator[BatchT_co]:
    """Batches without end from step `first_step` on; batch k holds samples k·batch … (k+1)·batch − 1 (a member's part)."""
    steps = _Steps(batch, first_step, members or Team())
    if workers:  # here, since a forked worker cannot end the threads that OpenCV has in this process: it hangs or crashes
        cv2.setNumThreads(1)
    yield from DataLoader(
        cast(Dataset[Any], samples),
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=samples.collate,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_single_thread,
    )


def load_batch(samples: Samples[BatchT_co], indices: range) -> BatchT_co:
    """The samples of these indices, rendered here and now."""
    return samples.collate([samples[index] for index in indices])


class _Steps:
    def __init__(self, batch: int, first_step: int, members: Team) -> None:
        self.batch, self.first_step, self.members = batch, first_step, members

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield self.members.part(list(range(step * self.batch, (step + 1) * self.batch)))
            step += 1


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
