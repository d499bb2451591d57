"""Passes of the U-Net and its ControlNet that are recorded once and replayed, with their edits: CUDA graphs,
or torch.compile."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qnerf.attention.hooks import bound_now
from qnerf.attention.recorded import Doubles, Processors, Unrecordable, edits_of, read_by, signature, tensors
from qnerf.backbones.backbone import Acceleration
from qnerf.backbones.conditioning import Conditioning
from qnerf.errors import UserError
from qnerf.graphs import Compiler, CudaRecorder, Recorder, reason

if TYPE_CHECKING:
    from qnerf.backbones.diffusion import DiffusionBackbone

log = logging.getLogger(__name__)

KEPT = 24
"""Recordings that are kept. A run with two sizes of chunks needs about a dozen."""
AGREEMENT = 0.05
"""How far a replayed pass may lie from the plain one, as a share of its size: far above rounding in half precision."""
TRIAL = 3
"""Passes of each way whose fastest are compared where the way is to be chosen."""


@dataclass(frozen=True)
class PassInputs:
    """latents: (B, C, h, w). time: (B,)."""

    latents: Tensor
    time: Tensor
    conditioning: Conditioning

    def tensors(self) -> list[Tensor]:
        c = self.conditioning
        return [
            self.latents,
            self.time,
            c.text,
            *(control.drawing for control in c.controls),
            *([] if c.pooled is None else [c.pooled]),
        ]

    def fixed(self) -> Hashable:
        """What a recording of the pass fixes."""
        controls = tuple((control.scale, control.net) for control in self.conditioning.controls)
        return controls, tuple((x.shape, x.dtype) for x in self.tensors())

    def cloned(self) -> PassInputs:
        c = self.conditioning
        controls = tuple(replace(control, drawing=control.drawing.clone()) for control in c.controls)
        pooled = None if c.pooled is None else c.pooled.clone()
        return PassInputs(self.latents.clone(), self.time.clone(), Conditioning(c.text.clone(), controls, pooled))


class RecordedPass:
    """One recording. It reads copies of its inputs and of what the edits read, and serves all passes of the same signature."""

    def __init__(self, backbone: DiffusionBackbone, inputs: PassInputs, processors: Processors, recorder: Recorder) -> None:
        self.backbone, self.doubles = backbone, Doubles(processors)
        self.inputs = inputs.cloned()
        with self.doubles.bound(backbone.unet):
            self.replay = recorder.record(self._work)

    def _work(self) -> tuple[Tensor, list[dict[str, Any]]]:
        self.doubles.clear()
        return self.backbone.run(self.inputs), self.doubles.left()

    def __call__(self, inputs: PassInputs, processors: Processors) -> Tensor:
        for place, x in zip(self.inputs.tensors(), inputs.tensors(), strict=True):
            place.copy_(x)
        self.doubles.read(processors)
        with self.doubles.bound(self.backbone.unet):
            noise, left = self.replay()
        self.doubles.give(left, processors)
        return noise.clone()


class AcceleratedPasses:
    """Runs passes: of each signature the first plainly, the second recorded and held against the plain one, all others replayed.

    choose: before that, some passes are timed both ways, and all are run plainly from then on if replaying gains nothing.
    """

    def __init__(self, recorder: Recorder, choose: bool) -> None:
        self.recorder, self.on = recorder, True
        self.trial = Trial() if choose else None
        self.seen: set[Hashable] = set()
        self.refused: set[Hashable] = set()
        self.kept: OrderedDict[Hashable, RecordedPass] = OrderedDict()
        self._said: set[str] = set()

    def __call__(self, backbone: DiffusionBackbone, inputs: PassInputs) -> Tensor:
        processors, features = bound_now(backbone.unet)
        try:
            key = self._key(backbone, inputs, processors, features)
        except Unrecordable as error:
            self._say(str(error))
            return backbone.run(inputs)
        if not self.on or key in self.refused:
            return backbone.run(inputs)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self._timed("replayed", key, lambda: self.kept[key](inputs, processors))
        with self.recorder.aside():
            plain = self._timed("plain", key, lambda: backbone.run(inputs)) if key in self.seen else backbone.run(inputs)
        if key in self.seen and (self.trial is None or self.trial.ready(key)):
            self._record(key, backbone, inputs, processors, plain)
        self.seen.add(key)
        return plain

    def _key(self, backbone: DiffusionBackbone, inputs: PassInputs, processors: Processors, features: bool) -> Hashable:
        if features:
            raise Unrecordable("outputs of the U-Net's modules are edited")
        read = [x for edit in edits_of(processors) for _, x in tensors(read_by(edit))] if processors else []
        edits = signature(processors)
        if torch.is_grad_enabled() and any(x.requires_grad for x in (*inputs.tensors(), *read)):
            raise Unrecordable("their gradients are asked for")
        return tuple(map(id, backbone.controlnets)), inputs.fixed(), edits

    def _record(
        self, key: Hashable, backbone: DiffusionBackbone, inputs: PassInputs, processors: Processors, plain: Tensor
    ) -> None:
        kept_by_edits = [{name: dict(getattr(edit, name)) for name in edit.leaves} for edit in edits_of(processors)]
        try:
            with torch.no_grad():
                recorded = RecordedPass(backbone, inputs, processors, self.recorder)
                found = recorded(inputs, processors)
            if not (found - plain).norm() <= AGREEMENT * plain.norm():
                raise RuntimeError("a replayed pass and a plain one give different results")
            self.kept[key] = recorded
            if len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        except RuntimeError as error:
            self.refused.add(key)
            self._say(reason(error))
        finally:  # what the plain pass has left stands
            for edit, left in zip(edits_of(processors), kept_by_edits, strict=True):
                for name, value in left.items():
                    getattr(edit, name).update(value)

    def _timed(self, way: str, key: Hashable, run: Any) -> Tensor:
        if self.trial is None or not self.trial.wants(way, key):
            return run()
        self.recorder.wait()
        begin = time.perf_counter()
        out = run()
        self.recorder.wait()
        self.trial.seconds[way].append(time.perf_counter() - begin)
        if len(self.trial.seconds["replayed"]) == TRIAL:
            plain, replayed = (1000 * min(self.trial.seconds[kind]) for kind in ("plain", "replayed"))
            self.on = replayed < plain
            log.info(
                "A pass of the U-Net takes %.1f ms without and %.1f ms with a CUDA graph: from now on it "
                "runs %s.",
                plain, replayed, "with the graph" if self.on else "without",
            )  # fmt: skip
            self.trial = None
            if not self.on:
                self.kept.clear()
        return out

    def _say(self, why: str) -> None:
        if why not in self._said:
            self._said.add(why)
            log.info("Some passes of the U-Net run without a CUDA graph, because %s.", why)


class Trial:
    """Seconds of the passes of one signature, the first that comes twice, run either way."""

    def __init__(self) -> None:
        self.key: Hashable = None
        self.seconds: dict[str, list[float]] = {"plain": [], "replayed": []}

    def wants(self, way: str, key: Hashable) -> bool:
        self.key = key if self.key is None else self.key
        return key == self.key and len(self.seconds[way]) < TRIAL

    def ready(self, key: Hashable) -> bool:
        """Whether the plain passes are measured."""
        return key == self.key and len(self.seconds["plain"]) == TRIAL


def accelerate(wanted: Acceleration, device: torch.device) -> AcceleratedPasses | None:
    """How passes on the device are run; None: plainly. Raises UserError for CUDA graphs elsewhere than on a CUDA GPU."""
    if wanted == "compile":
        return AcceleratedPasses(Compiler(device), choose=False)
    if device.type == "cuda" and wanted != "none":
        return AcceleratedPasses(CudaRecorder(device), choose=wanted == "auto")
    if wanted == "graph":
        raise UserError(
            f"backbone.acceleration is graph, but the device is {device.type}, and CUDA graphs need a CUDA "
            "GPU; set backbone.acceleration=auto"
        )
    return None
