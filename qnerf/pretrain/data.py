"""Streaming training data: sample number i follows from (seed, i) alone, whatever worker renders it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qnerf.scenes.procedural.world import render_sample

_SEED_STRIDE = 1_000_000_000  # sample seeds of different training seeds never meet


@dataclass(frozen=True)
class Batch:
    """images, controls: (B, 3, S, S) float32 in [0, 1]. captions: B texts."""

    images: Tensor
    controls: Tensor
    captions: list[str]


class PuppetSamples(Dataset[tuple[np.ndarray, np.ndarray, str]]):
    """Samples of the puppet world by index, each with one control of a grade drawn by `details`' shares."""

    def __init__(self, seed: int, size: int, details: dict[str, float]) -> None:
        self.seed, self.size = seed, size
        self.names = list(details)
        self.shares = np.array([details[name] for name in self.names]) / sum(details.values())

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        sample = render_sample(self.seed * _SEED_STRIDE + index, self.size)
        detail = np.random.default_rng([self.seed, index]).choice(self.names, p=self.shares)
        return sample.image, sample.controls[str(detail)], sample.caption


def stream(samples: PuppetSamples, batch: int, first_step: int, workers: int) -> Iterator[Batch]:
    """Batches without end from step `first_step` on; batch k holds samples k·batch … (k+1)·batch − 1."""
    steps = _Steps(batch, first_step)
    yield from DataLoader(
        samples,
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_single_thread,
    )


def load_batch(samples: PuppetSamples, indices: range) -> Batch:
    """The samples of these indices, rendered here and now."""
    return _collate([samples[index] for index in indices])


class _Steps:
    def __init__(self, batch: int, first_step: int) -> None:
        self.batch, self.first_step = batch, first_step

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(range(step * self.batch, (step + 1) * self.batch))
            step += 1


def _collate(items: list[tuple[np.ndarray, np.ndarray, str]]) -> Batch:
    images, controls, captions = zip(*items, strict=True)
    return Batch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(controls)), list(captions))


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
