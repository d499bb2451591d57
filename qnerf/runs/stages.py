"""The stages of a run, each with the identity of its result: what the store keeps them by.

    inversion ──▶ reconstruction, round trip
        └──▶ interval (of each progressive method) ──▶ edit ──▶ figures, group by group
    source field ──▶ posed ──▶ its inversion ──▶ edit (of the methods that ask for it)

A stage's identity holds those of the stages that it builds on, the settings that it reads and the version of its code. So a
grid over the strength of guidance inverts once (and trains its first field once, since nothing guides the first interval), and
a new metric edits nothing again. Neither torch nor a model is needed to know them: a sweep is laid out before it starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, reduce
from typing import Any, Literal

from qnerf.common.hashes import digest
from qnerf.common.sources import code_version
from qnerf.config import MethodSettings, RunSettings
from qnerf.errors import UserError
from qnerf.metrics.registry import group_module, group_reads
from qnerf.runs.identity import WITHOUT_EFFECT_OF_EDITOR, WITHOUT_EFFECT_OF_GUIDANCE, Inputs, effective_settings
from qnerf.runs.plan import follows_posed, method_follows_posed, uses_oracle, uses_posed
from qnerf.store.key import Key
from qnerf.variants import Variant

CODE = {  # the modules that a stage runs, beside the variants that it builds and the scene's reader; what they import counts too
    "inversion": ("qnerf.runs.inverting", "qnerf.scenes.reader", "qnerf.backbones.load"),
    "reconstruction": ("qnerf.runs.reconstruction",),
    "round_trip": ("qnerf.runs.round_trip",),
    "source_field": ("qnerf.fields.source_field", "qnerf.scenes.reader"),
    "source_depth": ("qnerf.runs.source_depth",),
    "posed": ("qnerf.runs.posing",),
    "edit": ("qnerf.runs.methods",),
    "attention": ("qnerf.runs.looking",),
    "kept pixels": ("qnerf.scenes.kept",),
}
Views = Literal["source", "truth", "posed"]


class Stages:
    """Keys of the stages of one run."""

    def __init__(self, settings: RunSettings, inputs: Inputs) -> None:
        self.settings = settings
        self.inputs = inputs
        self._plain = effective_settings(settings)

    def inversion(self, views: Views = "source") -> Key:
        """The trajectory of the source views, or (under the target's prompt and control) of the true edited ones or the posed
        ones."""
        unread = {"target_prompt" if views == "source" else "source_prompt", "focus", "radius"}
        scene = {key: value for key, value in self._plain["scene"].items() if key not in unread}
        control = {key: value for key, value in self._plain["control"].items() if key not in ("margin", "shadow")}
        parts = [control, *(self._plain[key] for key in ("steps", "inversion", "backbone", "deterministic"))]
        reader = [] if self.inputs.reader is None else [self.inputs.reader]
        code = _code("inversion", self.settings.inversion, self.settings.backbone, also=reader)
        of = [self.posed().identity] if views == "posed" else []
        drawn = self._drawings()
        of += [self.source_depth().identity] if "depth" in drawn else []
        of += drawn if "auto" in drawn or len(drawn) > 1 else []
        return Key("inversion", digest([views, scene, parts, self.inputs.scene, self.inputs.weights, code, *of]))

    def source_field(self) -> Key:
        """The radiance field of the source views."""
        scene = {key: value for key, value in self._plain["scene"].items() if not key.endswith("_prompt")}
        reader = [] if self.inputs.reader is None else [self.inputs.reader]
        parts = [self._plain["source_field"], self.settings.seed, self._plain["deterministic"]]
        return Key("source_field", digest([scene, self.inputs.scene, parts, _code("source_field", also=reader)]))

    def source_depth(self) -> Key:
        """The depth that the source's radiance field expects, at the size of the model's images."""
        return Key("source_depth", digest([self.source_field().identity, self.settings.backbone.pixels(), _code("source_depth")]))

    def posed(self) -> Key:
        """The source's radiance field, posed and rendered from every view."""
        return Key("posed", digest([self.source_field().identity, self._plain["posing"], _code("posed")]))

    def reconstruction(self) -> Key:
        """How well the inversion reconstructs each source view."""
        return Key("reconstruction", digest([self.inversion().identity, _code("reconstruction", self.settings.inversion)]))

    def round_trip(self) -> Key:
        """What the autoencoder alone leaves of the object."""
        return Key("round_trip", digest([self.inversion().identity, self._margin, _code("round_trip")]))

    def interval(self, method: MethodSettings, stop: int) -> Key:
        """Latents, field and target queries at state `stop` of a progressive edit. Nothing guides the first interval."""
        guidance = None if method.schedule.unguided(stop) else self._guidance(method)
        base = self._edit_base(method, method.schedule.interval_settings())
        return Key("interval", digest([base, self._field_base(method), stop, guidance, *self._posed(method)]))

    def edit(self, method: MethodSettings) -> Key:
        """The edit by one method; only what its schedule reads counts."""
        schedule = method.schedule
        parts: list[Any] = [self._edit_base(method, schedule.effective_settings())]
        if schedule.consolidates:
            parts += [self._guidance(method), list(self._layers(method))]
        if schedule.reads_truth:
            parts.append(self.inversion("truth").identity)
        if schedule.draws:
            parts.append(self.settings.seed)
        if schedule.reads_bounds:
            parts.append(self._margin)  # of the region where most may move, which says what view is carried
        parts += self._posed(method)
        if schedule.trains_fields:
            parts.append(self._field_base(method))
        if schedule.trains_radiance_field:
            parts.append([self._plain["rgb_field"], self.settings.seed, self._region])
        return Key("edit", digest(parts))

    def figures(self, method: MethodSettings, group: str, as_decoded: bool = False) -> Key:
        """One group of figures of a method's edited views: of the output, or of the model's own pictures."""
        read = {key: _at(self._plain, key) for key in group_reads(group)}
        kept = [] if as_decoded or not self._keeps_pixels else [self._margin, _code("kept pixels")]
        return Key(group, digest([self.edit(method).identity, code_version(group_module(group)), read, *kept]))

    def intervals(self, method: MethodSettings) -> list[Key]:
        """Every interval that a method keeps, in order."""
        stops = method.schedule.kept_intervals(method.guidance, self.settings.steps)
        return [self.interval(method, stop) for stop in stops]

    def identity(self) -> str:
        """The run's: 16 hexadecimal digits over everything that can change its result."""
        methods = [
            [name, self.edit(method).identity, [key.identity for key in self._all_figures(method)]]
            for name, method in self.settings.methods().items()
        ]
        shown = self._plain["attention"]
        looked = [] if shown is None else [shown, _code("attention")]
        return digest([self.reconstruction().identity, self.round_trip().identity, methods, self._plain["output"], *looked])

    def groups(self) -> list[str]:
        """The groups of figures that are measured."""
        return sorted(set(self.settings.metrics.measured()))

    def all(self) -> Iterator[Key]:
        """Every stage but the intervals, which count only until their edit is there."""
        yield self.inversion()
        yield self.reconstruction()
        yield self.round_trip()
        methods = self.settings.methods().values()
        if uses_oracle(self.settings):
            yield self.inversion("truth")
        depth = "depth" in self._drawings()
        if depth or uses_posed(self.settings):
            yield self.source_field()
        if depth:
            yield self.source_depth()
        if uses_posed(self.settings):
            yield self.posed()
        if follows_posed(self.settings):
            yield self.inversion("posed")
        for method in methods:
            yield self.edit(method)
            yield from self._all_figures(method)

    def _all_figures(self, method: MethodSettings) -> Iterator[Key]:
        yield from (self.figures(method, group) for group in self.groups())
        if self._keeps_pixels:
            yield from (self.figures(method, group, True) for group in sorted(self.settings.metrics.measured_as_decoded()))

    def _edit_base(self, method: MethodSettings, schedule: dict[str, Any]) -> list[Any]:
        """What every edit depends on. schedule: the settings that count of it, as plain data."""
        if not method.schedule.edits:
            return [self.inversion().identity, schedule, _code("edit", method.schedule)]
        chosen = method.editor or self.settings.editor
        silent = {*WITHOUT_EFFECT_OF_EDITOR, "guidance_scale"}
        editor = {key: value for key, value in chosen.counted(self.settings.steps).items() if key not in silent}
        kept = [self._margin, self.settings.control.shadow]
        region, scale = kept if chosen.keep_background else None, self.settings.edit_scale(method)
        code = _code("edit", method.schedule, *chosen.parts)
        negative = [self.settings.negative_prompt] if self.settings.negative_prompt and scale != 1 else []
        return [self.inversion().identity, self._plain["scene"]["target_prompt"], editor, scale, region, schedule, code, *negative]

    def _guidance(self, method: MethodSettings) -> list[Any]:
        guidance = method.guidance.model_dump(mode="json", exclude=WITHOUT_EFFECT_OF_GUIDANCE)
        return [guidance, self._margin if method.guidance.restricted else None, _code("guidance", method.guidance)]

    def _field_base(self, method: MethodSettings) -> list[Any]:
        """What trains a field and measures it: its R² is that of the object, and the margin says where that is."""
        return [self._plain["field"], list(self._layers(method)), self.settings.seed, self._region, self._margin]

    def _posed(self, method: MethodSettings) -> list[Any]:
        """What a method depends on that reads the posed views."""
        if method_follows_posed(self.settings, method):
            return [self.inversion("posed").identity]
        return [self.posed().identity] if method.schedule.reads_posed else []

    def _drawings(self) -> list[str]:
        """What is drawn for each ControlNet, and "auto" where the ControlNet's name chose it."""
        try:
            nets = self.settings.net_controls()
        except UserError:  # of a ControlNet of unknown kind, which no run takes
            return []
        chosen = ["auto"] if self.settings.control.detail == "auto" else []
        return [*chosen, *(net.drawing for net in nets)]

    @property
    def _keeps_pixels(self) -> bool:
        return self.settings.output.keep_pixels

    @property
    def _margin(self) -> float:
        return self._plain["control"]["margin"]

    @cached_property
    def _region(self) -> list[Any]:
        return [self._plain["scene"]["focus"], self._plain["scene"]["radius"]]

    def _layers(self, method: MethodSettings) -> tuple[int, ...]:
        return (method.recorder or self.settings.recorder).layers


def _at(plain: dict[str, Any], key: str) -> Any:
    """The value under a dotted key. Raises UserError where there is none."""
    try:
        return reduce(lambda node, part: node[part], key.split("."), plain)
    except (KeyError, TypeError):
        raise UserError(f"a metric reads the setting {key!r}, which does not exist: correct `reads` in its record") from None


def _code(stage: str, *variants: Variant, also: Sequence[str] = ()) -> str:
    """The version of a stage's code, that of the variants which it builds and of other modules included."""
    return code_version(*CODE.get(stage, ()), *(type(variant).__module__ for variant in variants), *also)
