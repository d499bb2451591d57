"""Identities: a setting counts exactly where it can change a result, and a stage only for what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from pydantic import ValidationError

from qnerf.config import MethodSettings, RunSettings, parse
from qnerf.errors import UserError
from qnerf.guidance.off import OffSettings
from qnerf.run import CONFIGS
from qnerf.runs.identity import WITHOUT_EFFECT, Inputs, effective_settings, read_inputs
from qnerf.runs.stages import Stages
from qnerf.schedules.independent import IndependentSettings
from qnerf.sweeps.expand import sweep_params
from qnerf.sweeps.space import ends, read_space

INPUTS = Inputs("scene", "weights")
SILENT_ENDS = (
    *("recorder.name", ".recorder.name"),  # what a set of layers is called; its layers count
    *(".guidance.checkpointing", ".editor.source_cache_gib"),  # a baseline's; the main method's is in WITHOUT_EFFECT
)
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "exp").glob("*.yaml"))
EMPTY = MethodSettings(schedule=IndependentSettings(name="independent"), guidance=OffSettings(name="off"))  # reads the run's own
ONE_VALUE = ("name",)  # tags of variants: swapped as a whole below


def settings_of(*overrides: str) -> RunSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", list(overrides)))


def stages_of(*overrides: str, inputs: Inputs = INPUTS) -> Stages:
    return Stages(settings_of(*overrides), inputs)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def others(value: Any) -> Iterator[Any]:
    """Values to try in a leaf's place, until one is valid."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value * 2, value + 1, value / 2, value + 8, 1, 2)
    elif isinstance(value, list):
        yield from (value[:-1], [2], [])
    else:  # text, null, and every literal of the settings
        yield from ("elsewhere", 3.5, [0.1, 0.2, 0.3], "bones", "raw", "all", "constant", "equal", "union", "torch", "bfloat16")
        yield from ("posed", "joints")
        yield from ("cpu", "online", 7, None)


def flipped(plain: dict[str, Any], path: tuple[str, ...], value: Any) -> RunSettings | None:
    """The settings with another valid value in one leaf, or none where there is no other."""
    for other in others(value):
        copy: Any = deepcopy(plain)
        node = copy
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = other
        try:
            found = RunSettings.model_validate(copy)
        except ValidationError:
            continue
        if found.model_dump(mode="json") != plain:
            return found
    return None


UNGUIDED = ("independent", "source", "posed", "anchor_warp", "csd", "in2n")
READ_NO_SOURCE = ("plain", "reference_attention")


def unread(settings: RunSettings) -> set[str]:
    """The keys (with all below them) that no stage of these settings reads, said here once more, by what the methods do."""
    methods, groups = settings.methods(), settings.metrics.groups
    guided = {name: method for name, method in methods.items() if method.schedule.name not in UNGUIDED}
    fields, heldout = any(m.schedule.trains_fields for m in methods.values()), "heldout" in groups
    found = {"baselines." + name + part for name in methods if name not in guided for part in (".guidance", ".recorder")}
    found |= {f"baselines.{name}.editor" for name, method in methods.items() if not method.schedule.edits}
    found |= set() if "full" in guided else {"guidance"}
    found |= set() if any(settings.baselines.get(n, EMPTY).recorder is None for n in guided) else {"recorder"}
    found |= set() if fields else {"field"}
    feedback = any(getattr(m.schedule, "feedback", None) for m in methods.values())
    found |= set() if heldout or feedback else {"rgb_field"}
    found |= set() if heldout else {"metrics.heldout_every"}
    posed = any(reads_the_posed_views(settings, method) for method in methods.values())
    found |= set() if posed else {"source_field", "posing"}
    found |= set() if fields or heldout or posed else {"seed", "scene.focus", "scene.radius"}
    for name, method in methods.items():
        where = "" if name == "full" else f"baselines.{name}."
        found |= {f"{where}schedule.start_at"} if getattr(method.schedule, "start", "source") == "source" else set()
        found |= {f"{where}editor.source"} if (method.editor or settings.editor).name in READ_NO_SOURCE else set()
        if getattr(method.editor or settings.editor, "mask", "words") != "words":
            found |= {f"{where}editor.{key}" for key in ("mask_words", "mask_threshold")}
        if getattr(method.schedule, "consolidate_below", 1) == 0:  # no query field is trained
            found |= {f"{where}schedule.{key}" for key in ("interval", "growth", "warm_start", "consolidate_from")}
    found |= set() if {"consistency", "errors"} & set(groups) else {"metrics.depth_tolerance"}
    found |= set() if "silhouette" in groups else {"metrics.silhouette_threshold"}
    edits = {name: method for name, method in methods.items() if method.schedule.edits}
    found |= set() if edits else {"editor", "scene.target_prompt"}
    kept = any((method.editor or settings.editor).keep_background for method in edits.values())
    read = kept or settings.output.keep_pixels or any(reads_the_margin(m) for m in guided.values())
    found |= set() if read else {"control.margin"}
    found |= set() if kept else {"control.shadow"}
    steered = any(settings.edit_scale(method) != 1 for method in edits.values())
    found |= set() if steered else {"negative_prompt"}
    twice = settings.output.keep_pixels and set(groups) & set(settings.metrics.decoded_groups)
    found |= set() if twice else {"metrics.decoded_groups"}
    return found


def reads_the_posed_views(settings: RunSettings, method: MethodSettings) -> bool:
    """Whoever starts from them, follows them, is them, or reads keys and values of them."""
    started = getattr(method.schedule, "start", "source") == "posed" or method.schedule.name in ("transport", "posed")
    editor = method.editor or settings.editor
    return started or (method.schedule.edits and editor.name == "masactrl" and editor.source == "posed")


def reads_the_margin(method: MethodSettings) -> bool:
    """Whoever trains a field, since its R² is that of the object, or guides the object alone."""
    restricted = getattr(method.guidance, "region", "all") != "all"
    return method.schedule.name != "oracle" or restricted


def check_every_leaf(settings: RunSettings) -> int:
    """Flips each leaf that has another valid value; how many those were."""
    plain = settings.model_dump(mode="json")
    before, seen, silent = Stages(settings, INPUTS).identity(), 0, {*WITHOUT_EFFECT, *unread(settings)}
    silent -= {"backbone.controlnet"} if settings.control.detail == "auto" else set()  # its name chooses the drawing
    for path, value in leaves(plain):
        other = flipped(plain, path, value) if path[-1] not in ONE_VALUE else None
        if other is not None:
            key = ".".join(path)
            without = any(key == name or key.startswith(name + ".") for name in silent) or key.endswith(SILENT_ENDS)
            assert (Stages(other, INPUTS).identity() == before) == without, key
            seen += 1
    return seen


@pytest.mark.parametrize(
    "overrides",
    [
        ("+exp=compare", "baselines=[source,controlnet,independent,one_shot,hard,mixed,oracle]", "guidance.region=object"),
        ("baselines=[posed]", "schedule=transport", "rgb_field.hidden_width=8"),
        ("inversion=null_text", "backbone=sd15", "tracker=wandb", "editor=plain", "guidance.region=object"),
    ],
    ids=["every schedule", "posed views", "other variants"],
)
def test_flipping_a_leaf_changes_the_identity_exactly_where_it_can_change_a_result(overrides: tuple[str, ...]) -> None:
    assert check_every_leaf(settings_of(*overrides)) > 80, "most leaves have another valid value"


SEEN: set[tuple[Any, ...]] = set()
OWN = ("experiment", "scene", "output_dir")  # what each experiment says in words of its own


def variants(experiment: str) -> Iterator[RunSettings]:
    """An experiment's settings, and those of its sweep, that have other keys or choices than all before them, of whatever
    experiment: other numbers have the same leaves."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        node = compose("config", [f"+exp={experiment}"], return_hydra_config=True)
    _, space = read_space(sweep_params(node))
    for point in [{}, *ends(space)]:
        settings = settings_of(f"+exp={experiment}", "scene.path=somewhere", *(f"{key}={value}" for key, value in point.items()))
        plain = settings.model_dump(mode="json")
        shape = tuple((path, "" if path[0] in OWN else _choice(value)) for path, value in leaves(plain))
        if shape not in SEEN:
            SEEN.add(shape)
            yield settings


def _choice(value: Any) -> str:
    """A value that may say which others are read: any but a number, of which 0 and 1 may."""
    return "a number" if isinstance(value, int | float) and value not in (0, 1) else repr(value)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_so_it_is_for_every_variant_of_every_shipped_experiment(experiment: str) -> None:
    assert all(check_every_leaf(settings) > 60 for settings in variants(experiment))


@pytest.mark.parametrize("group", ["inversion", "editor", "recorder", "guidance", "schedule", "baselines", "metrics", "tracker"])
def test_choices_of_a_group_are_so_many_identities_unless_they_only_record(group: str) -> None:
    choices = sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
    others = [] if group == "schedule" else ["schedule=progressive"]  # which takes every guidance
    names = {
        stages_of(f"{group}=[{choice}]" if group == "baselines" else f"{group}={choice}", *others).identity() for choice in choices
    }
    assert len(names) == (1 if group == "tracker" else len(choices))


@pytest.mark.parametrize("override", ["inversion=uniform_attention", "editor=plain", "guidance=hard", "baselines=[]"])
def test_every_variant_has_its_own_identity(override: str) -> None:
    assert stages_of(override).identity() != stages_of().identity()


def test_what_no_stage_of_the_run_reads_is_no_part_of_it() -> None:
    plain = ("schedule=independent", "baselines=[]", "metrics=quick")
    for unread in ("field.optimiser.iterations=7", "seed=3", "guidance=hard", "recorder=decoder_fine", "metrics.heldout_every=3"):
        assert stages_of(*plain, unread).identity() == stages_of(*plain).identity(), unread


def test_a_negative_prompt_counts_in_edits_that_are_steered_away_from_it() -> None:
    guided = "editor.guidance_scale=7.5"
    assert stages_of("negative_prompt=x").identity() == stages_of().identity()
    assert stages_of("negative_prompt=x", guided).identity() != stages_of(guided).identity()
    assert stages_of("negative_prompt=x", guided).inversion() == stages_of(guided).inversion()
    with pytest.raises(UserError, match="inversion=null_text optimises the prompt in its place"):
        settings_of("negative_prompt=x", "inversion=null_text")


def test_the_margin_counts_where_the_region_is_read() -> None:
    def counts(*overrides: str) -> bool:
        """Whether an edit or one of its figures depends on it; the autoencoder's figure is of the region and always does."""
        plain, wider = (stages_of(*overrides, *more) for more in ((), ("control.margin=.2",)))
        assert wider.round_trip() != plain.round_trip()
        return [key for key in wider.all() if key.stage != "round_trip"] != [
            key for key in plain.all() if key.stage != "round_trip"
        ]

    oracle = ("schedule=oracle", "guidance.region=all", "editor.keep_background=false", "output.keep_pixels=false")
    assert not counts(*oracle)
    for key in ("editor.keep_background", "output.keep_pixels"):
        assert counts(*(word for word in oracle if not word.startswith(key)))
    assert counts("guidance.region=all", "guidance.weights=equal", "editor.keep_background=false", "output.keep_pixels=false")
    independent = ("schedule=independent", *oracle[2:])
    assert not counts(*independent)
    assert counts(*independent, "schedule.start=anchor_warp"), "it says which view is carried"


def test_inputs_are_part_of_every_identity() -> None:
    names = {stages_of(inputs=inputs).identity() for inputs in (INPUTS, Inputs("x", "weights"), Inputs("scene", "x"))}
    assert len(names) == 3


def test_inputs_are_hashed_from_files_and_weights_that_are_not_here_are_none() -> None:
    inputs = read_inputs(settings_of())
    assert len(inputs.weights or "") == 16
    assert read_inputs(settings_of("backbone=sd15", "backbone.model=no/where")) == replace(inputs, weights=None)


def test_a_dtype_that_is_left_open_counts_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(dtype: str, device: str) -> str:
        return stages_of("backbone=sd15", "control.detail=auto", f"backbone.dtype={dtype}", f"device={device}").identity()

    assert name("auto", "cpu") == name("float32", "cpu")
    assert name("auto", "cpu") != name("float16", "cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert name("auto", "auto") == name("float16", "auto")


def test_two_ways_to_write_a_square_are_one_run() -> None:
    assert stages_of("scene.size=[128,128]").identity() == stages_of("scene.size=128").identity()
    assert stages_of("scene.size=[128,64]").identity() != stages_of("scene.size=[64,128]").identity()


def test_settings_without_effect_exist() -> None:
    plain = settings_of("backbone=sd15", "editor=masactrl", "guidance=soft").model_dump(mode="json")
    keys = {".".join(path[: n + 1]) for path, _ in leaves(plain) for n in range(len(path))}
    assert set(WITHOUT_EFFECT) - {"backbone.path"} <= keys
    assert "path" not in effective_settings(settings_of())["backbone"]
