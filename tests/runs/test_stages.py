"""Identities of stages: what runs of other settings share, and what they do not."""

from __future__ import annotations

import pytest

from qnerf.errors import UserError
from qnerf.runs.stages import Stages
from qnerf.store.key import Key
from tests.editors.examples import ExtendedSettings
from tests.runs.test_identity import INPUTS, settings_of, stages_of


def test_a_grid_over_guidance_shares_the_inversion_the_baselines_and_the_first_interval() -> None:
    weak, strong = (stages_of("schedule=progressive", f"guidance.strength={strength}") for strength in (0.01, 0.02))
    assert weak.inversion() == strong.inversion()
    assert weak.reconstruction() == strong.reconstruction()
    methods = [stages.settings.methods() for stages in (weak, strong)]
    assert weak.edit(methods[0]["independent"]) == strong.edit(methods[1]["independent"])
    assert weak.edit(methods[0]["full"]) != strong.edit(methods[1]["full"])
    first, *rest = zip(weak.intervals(methods[0]["full"]), strong.intervals(methods[1]["full"]), strict=True)
    assert first[0] == first[1]
    assert rest
    assert all(a != b for a, b in rest)


def test_other_metrics_leave_the_edit_as_it_is() -> None:
    paper = "schedule.feedback=null"
    few, many = stages_of("metrics=quick", paper), stages_of("metrics.depth_tolerance=.05", "rgb_field.hidden_width=8", paper)
    method = few.settings.methods()["full"]
    assert few.edit(method) == many.edit(method)
    assert few.figures(method, "fidelity") == many.figures(method, "fidelity")
    assert few.figures(method, "consistency") != many.figures(method, "consistency")
    assert few.identity() != many.identity()


def test_kept_pixels_change_figures_and_leave_edits_as_they_are() -> None:
    """Figures of the model's own pictures are those of an output that keeps none: measured once for both."""
    kept, plain, wide = stages_of(), stages_of("output.keep_pixels=false"), stages_of("metrics.decoded_groups=[fidelity,heldout]")
    method = kept.settings.methods()["full"]
    assert kept.edit(method) == plain.edit(method)
    assert kept.figures(method, "fidelity") != plain.figures(method, "fidelity")
    assert kept.figures(method, "fidelity", as_decoded=True) == plain.figures(method, "fidelity")
    names = {stages: [key.stage for key in stages.all()] for stages in (kept, plain, wide)}
    assert [found.count("fidelity") for found in names.values()] == [4, 2, 4], "two methods"
    assert [found.count("heldout") for found in names.values()] == [2, 2, 4], "no second radiance field, but where it is asked for"
    assert len({stages.identity() for stages in names}) == 3
    assert len({stages_of("metrics.groups=[]", f"output.keep_pixels={value}").identity() for value in ("true", "false")}) == 2


def test_a_released_shadow_is_another_edit_where_the_background_is_kept() -> None:
    kept, released = stages_of(), stages_of("control.shadow=true")
    assert kept.inversion() == released.inversion()
    method = kept.settings.methods()["independent"]
    assert kept.edit(method) != released.edit(method)
    free = "editor.keep_background=false"
    assert stages_of(free).identity() == stages_of(free, "control.shadow=true").identity()


def test_with_and_without_feedback_share_all_intervals() -> None:
    """So the edit without it beside the default costs its last stretch alone; the radiance field counts where it feeds back."""
    stages = stages_of("schedule=progressive", "baselines=[queries_only]")
    own, other = (stages.settings.methods()[name] for name in ("full", "queries_only"))
    assert stages.intervals(own) == stages.intervals(other)
    assert stages.edit(own) != stages.edit(other)
    wide = stages_of("schedule=progressive", "baselines=[queries_only]", "rgb_field.hidden_width=8")
    assert wide.edit(own) != stages.edit(own)
    assert wide.edit(other) == stages.edit(other)


def test_the_prompt_of_the_edit_leaves_the_inversion_as_it_is() -> None:
    a, b = stages_of("scene.target_prompt=x"), stages_of("scene.target_prompt=y")
    assert a.inversion() == b.inversion()
    assert a.inversion("truth") != b.inversion("truth")
    method = a.settings.methods()["independent"]
    assert a.edit(method) != b.edit(method)


def test_intervals_that_end_at_other_steps_are_others() -> None:
    """Of one method, guided or not, and also where nothing else of two settings differs."""
    for overrides in ((), ("guidance=off",)):
        stages = stages_of("schedule=progressive", *overrides)
        method = stages.settings.methods()["full"]
        keys = stages.intervals(method)
        assert len(set(keys)) == len(keys) > 1
        assert len({stages.interval(method, stop) for stop in (5, 6, 10)}) == 3


def test_the_scale_of_an_edit_counts_as_it_is_used() -> None:
    """Null is the inversion's scale or 1, and then the same edit as where it is typed; another scale is another edit."""
    main = stages_of().settings.methods()["full"]
    plain = stages_of("editor.guidance_scale=null").identity()
    assert stages_of().edit(main) == Stages(settings_of("editor.guidance_scale=1"), INPUTS).edit(main)
    assert stages_of("editor.guidance_scale=1").identity() == plain == stages_of().identity()
    assert stages_of("editor.guidance_scale=2").identity() != plain
    null_text = stages_of("inversion=null_text")
    assert null_text.settings.edit_scale(null_text.settings.methods()["full"]) == 7.5
    assert stages_of("inversion=null_text", "editor.guidance_scale=7.5").identity() == null_text.identity()
    other = stages_of("inversion=null_text", "inversion.guidance_scale=5")
    assert other.settings.edit_scale(other.settings.methods()["independent"]) == 5
    assert other.identity() != null_text.identity()


def test_a_typed_scale_that_the_prompts_are_not_optimised_for_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"editor.guidance_scale: got 3; expected 7.5 \(inversion.guidance_scale\)") as error:
        settings_of("inversion=null_text", "editor.guidance_scale=3")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"baselines.controlnet.editor.guidance_scale: got 2; expected 7.5"):
        settings_of("inversion=null_text", "baselines=[controlnet]", "baselines.controlnet.editor.guidance_scale=2")
    with pytest.raises(UserError, match=r"got 1; expected 7.5"):
        settings_of("inversion=null_text", "editor.guidance_scale=1")


def test_how_a_joint_editor_groups_views_counts_and_chunks_never_do() -> None:
    def edited(group: int, chunk_size: int) -> Key:
        plain = settings_of("schedule=independent", "guidance=off", "baselines=[]", f"chunk_size={chunk_size}")
        main = plain.methods()["full"].model_copy(update={"editor": ExtendedSettings(group=group)})
        return Stages(plain, INPUTS).edit(main)

    assert edited(2, 4) == edited(2, 1)
    assert edited(2, 4) != edited(3, 4)


def test_the_papers_method_is_the_same_beside_another_and_as_the_main_one() -> None:
    beside = settings_of(
        "baselines=[paper]", "guidance=hard", "schedule=one_shot", "editor=plain", "recorder=decoder_fine"
    ).methods()
    assert beside["paper"] == settings_of("+exp=paper").methods()["full"] == settings_of("baselines=[paper]").methods()["paper"]


def test_posing_counts_for_the_methods_that_read_it_alone() -> None:
    """The source's field is trained once for all cells of a grid over posing, control and guidance; other methods are as before."""
    methods = "baselines=[independent,posed,transport,oracle]"
    base = stages_of(methods, "schedule=transport")
    posing, field = stages_of(methods, "schedule=transport", "posing.blend=2"), stages_of(methods, "source_field.hidden_width=8")
    assert base.source_field() == posing.source_field() != field.source_field()
    assert base.posed() != posing.posed()
    assert base.posed() == stages_of(methods, "control.detail=ends", "guidance.strength=.3").posed()
    for name, method in base.settings.methods().items():
        changes = base.edit(method) != posing.edit(posing.settings.methods()[name])
        assert changes == (name in ("posed", "transport", "full")), name
    full = base.settings.methods()["full"]
    assert base.intervals(full) != posing.intervals(full)
    own = [key for key in base.all() if key.stage == "inversion"]
    assert len(set(own)) == len(own) == 3  # of the source, the truth and the posed views


def test_an_editor_that_reads_the_posed_branch_counts_too() -> None:
    reads = stages_of("schedule=progressive", "editor.source=posed", "baselines=[independent,source]")
    other = stages_of("schedule=progressive", "editor.source=posed", "baselines=[independent,source]", "posing.blend=2")
    for name, changes in (("independent", True), ("source", False), ("full", True)):
        assert (reads.edit(reads.settings.methods()[name]) != other.edit(other.settings.methods()[name])) == changes
    assert reads.inversion("posed") in set(reads.all())
    plain = stages_of("schedule=progressive")
    assert plain.inversion("posed") not in set(plain.all())
