"""The one place where a composed Hydra config becomes typed settings.

Everything is converted and validated once, every error is reported together, and neither torch nor
diffusers is imported: a typo is answered in about a second, before any model is loaded.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from pydantic import Field, ValidationError, field_validator, model_validator

from qnerf.attention.settings import AttentionSettings, RecorderSettings
from qnerf.backbones.backbone import BackboneSettings, NetControl
from qnerf.common.messages import describe_error, sentence
from qnerf.editors.combined import combination_problem, over_plain
from qnerf.editors.editor import EditorSettings
from qnerf.errors import UserError
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.settings import FieldSettings, RgbFieldSettings, SourceFieldSettings
from qnerf.guidance.guidance import GuidanceSettings
from qnerf.inversions.inversion import InversionSettings
from qnerf.metrics.registry import objectives
from qnerf.metrics.settings import MetricsSettings
from qnerf.reports.figures import MAIN_METHOD
from qnerf.scenes.readers.reader import lacks_cameras
from qnerf.scenes.settings import Drawing, SceneSettings
from qnerf.schedules.schedule import ScheduleSettings
from qnerf.settings import Settings
from qnerf.store.settings import StoreSettings
from qnerf.trackers.tracker import TrackerSettings, over_files
from qnerf.variants import problems, union

if TYPE_CHECKING:
    AnyBackbone: TypeAlias = BackboneSettings
    AnyEditor: TypeAlias = EditorSettings
    AnyGuidance: TypeAlias = GuidanceSettings
    AnyInversion: TypeAlias = InversionSettings
    AnySchedule: TypeAlias = ScheduleSettings
    AnyTracker: TypeAlias = TrackerSettings
else:  # each the union of what is registered
    AnyBackbone, AnyEditor, AnyGuidance = union("backbones"), union("editors"), union("guidance")
    AnyInversion, AnySchedule, AnyTracker = union("inversions"), union("schedules"), union("trackers")


SHORT_NAMES = ("image", "prompt", "target")
"""Keys at the top of a config that an experiment adds for the command line: its other keys refer to them, and nobody else reads
them (conf/exp/edit_image.yaml)."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ControlSettings(Settings):
    """The drawing of the 3-D proxy that ControlNet sees."""

    detail: Drawing  # how much is drawn, from the full skeleton to the edges of a box; or as a foreign ControlNet knows it
    scale: float = Field(ge=0, le=2)  # weight of ControlNet's residuals
    margin: float = Field(default=0.1, ge=0)  # thickness around the bones, as a share of the proxy's height
    source_images: str | None = None  # for detail=images: folders of drawings of one's own, named like the views
    target_images: str | None = None
    shadow: bool = False  # with a kept background: also edit where the shadow of a part that moves may be


class OutputSettings(Settings):
    """What becomes of the decoded views."""

    # Outside the parts that move and their shadows, the output is the photograph, also at its own resolution.
    keep_pixels: bool = True


class MethodSettings(Settings):
    """One way to edit the views: when queries are consolidated, and how they guide the views."""

    schedule: AnySchedule
    guidance: AnyGuidance
    recorder: RecorderSettings | None = None  # none: the run's own
    editor: AnyEditor | None = None  # none: the run's own


class SweepSettings(Settings):
    """How a sweep (`-m`) resumes, and what a search optimises. They change no result.

    retry_failed: run failed cells again. dry_run: show what would run, and stop. objectives: the
    figures that a search (`hydra/sweeper=optuna`) improves; with several, it looks for the Pareto front.
    """

    retry_failed: bool = True
    dry_run: bool = False
    objectives: tuple[str, ...] = Field(default=("warp_error_moved", "psnr_object"), min_length=1)

    @field_validator("objectives")
    @classmethod
    def _have_a_better_end(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in objectives():
                raise ValueError(sentence(name, "this is not a figure that can be better or worse", name, objectives()))
        return names


class RunSettings(Settings):
    """Everything that a run is made of. conf/config.yaml shows the defaults."""

    experiment: Name  # the folder under output_dir
    seed: int = Field(ge=0, lt=2**32)
    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", examples=["auto", "cpu", "mps", "cuda", "cuda:1"])
    steps: int = Field(default=30, ge=2, le=1000)  # denoising steps, of the inversion and of every edit
    deterministic: bool = False  # bit-equal results from run to run on a GPU too, but slower
    negative_prompt: str = ""  # what edits with a guidance scale are steered away from, in the place of the empty prompt
    chunk_size: int = Field(gt=0)  # views per pass of the U-Net: affects memory and speed, not results
    memory: Literal["auto", "24gb", "16gb", "12gb", "8gb"] = "auto"  # of the GPU: what is lowered to fit (qnerf/runs/memory.py)
    output_dir: str = Field(min_length=1)
    scene: SceneSettings
    backbone: AnyBackbone
    control: ControlSettings
    inversion: AnyInversion
    editor: AnyEditor
    recorder: RecorderSettings
    field: FieldSettings
    rgb_field: RgbFieldSettings
    source_field: SourceFieldSettings
    posing: PosingSettings = PosingSettings()
    guidance: AnyGuidance
    schedule: AnySchedule
    baselines: dict[Name, MethodSettings] = Field(default_factory=dict)  # empty with baselines=[]
    metrics: MetricsSettings
    attention: AttentionSettings | None = None  # none: nothing of it is shown
    output: OutputSettings = OutputSettings()
    tracker: AnyTracker
    store: StoreSettings = StoreSettings()
    sweep: SweepSettings = SweepSettings()

    @classmethod
    def compose(cls, *overrides: str, config_dir: Path | str | None = None) -> "RunSettings":
        """The settings that `python -m qnerf.run <overrides>` would run with.

        overrides: as on the command line, such as "+exp=articulation" or "guidance.strength=0.4". config_dir: a folder with
        configs of your own, as `--config-dir` names it. Raises one UserError with a line for every error found, each with the
        nearest valid name. Hydra may be initialised already, as in a notebook: it is left as it was.
        """
        from qnerf.composing.compose import compose_config

        folders = [] if config_dir is None else [config_dir]
        return parse(compose_config(overrides, folders, lambda config: check(config)[0]))

    @model_validator(mode="after")
    def _methods_fit(self) -> "RunSettings":
        if MAIN_METHOD in self.baselines:
            raise ValueError(
                f"baselines.{MAIN_METHOD}: {MAIN_METHOD} is the name of the main method; give the baseline another name"
            )
        problems = [problem for name, method in self.methods().items() for problem in self._problems(name, method)]
        if problems:
            raise ValueError(problems[0])
        return self

    @model_validator(mode="after")
    def _negative_prompt_is_read(self) -> "RunSettings":
        if self.negative_prompt and self.inversion.required_scale is not None:
            raise ValueError(
                f"negative_prompt: got {self.negative_prompt!r}, but inversion={self.inversion.name} optimises the prompt in its "
                "place; expected none: leave it empty, or choose inversion=ddim"
            )
        return self

    def _problems(self, name: str, method: MethodSettings) -> Iterator[str]:
        """The settings of one method that conflict with others, a sentence each."""
        where = "" if name == MAIN_METHOD else f"baselines.{name}."
        if problem := method.schedule.problem(method.guidance, self.steps, where):
            yield problem
        editor = method.editor or self.editor
        inherited = name != MAIN_METHOD and self.baselines[name].editor in (None, self.editor)
        of_editor, first = "" if inherited else where, method.schedule.first_state(self.steps)
        for addition in editor.additions.values():
            if method.schedule.edits and not addition.acts(first, self.steps):
                yield (
                    f"{of_editor}editor.additions.{addition.name}: it acts before step {first} of {self.steps} alone, where this "
                    f"edit begins; expected an edit from earlier on: set {where}schedule.skip=0, or leave it out"
                )
        for addition in editor.additions.values():
            if method.schedule.edits and addition.draws_start and (other := self._other_start(method, where)):
                yield (
                    f"{of_editor}editor.additions.{addition.name}: it starts from noise that it draws itself, but {other}; "
                    f"expected one start: leave {addition.name} out, or choose another"
                )
        scale, required = editor.guidance_scale, self.inversion.required_scale
        if required is not None and scale not in (None, required):
            yield (
                f"{of_editor}editor.guidance_scale: got {scale:g}; expected {required:g} "
                f"(inversion.guidance_scale), the scale that the prompts of inversion={self.inversion.name} "
                "are optimised for: leave it null, or set both to one value"
            )
        if method.schedule.edits and editor.control_guidance != 1 and not self.backbone.reads_control:
            yield (
                f"{of_editor}editor.control_guidance: got {editor.control_guidance:g}, but backbone.controlnet is null, so there "
                f"is no control to be steered away from; set {of_editor}editor.control_guidance=1"
            )
        start = method.schedule.starts_from
        if start != "source" and self.inversion.adds_noise:
            yield (
                f"{where}schedule.start: got {start}, but inversion={self.inversion.name} goes on with noise that it found for the "
                f"source views; expected source, or another inversion: {where}schedule.start=source"
            )
        if self.inversion.needs_guidance and self.edit_scale(method) == 1 and method.schedule.edits:
            yield (
                f"{where}editor.guidance_scale: got 1, at which inversion.proximal has no effect; expected more, or "
                "inversion.proximal=null"
            )

    def _other_start(self, method: MethodSettings, where: str) -> str | None:
        """What an edit starts from other than states that any noise may take the place of, or None."""
        if self.inversion.adds_noise:
            return f"inversion={self.inversion.name} goes on with noise that it found for the source views"
        start = method.schedule.starts_from
        return None if start == "source" else f"{where}schedule.start is {start}"

    def edit_scale(self, method: MethodSettings) -> float:
        """γ of a method's edit: the editor's, else the inversion's, else 1."""
        for scale in ((method.editor or self.editor).guidance_scale, self.inversion.edit_scale):
            if scale is not None:
                return scale
        return 1.0

    def net_controls(self) -> tuple[NetControl, ...]:
        """What each ControlNet is given. Raises UserError where a ControlNet's kind is not known."""
        control = self.control
        return self.backbone.controls(control.detail, control.scale, (control.source_images, control.target_images))

    def methods(self) -> dict[str, MethodSettings]:
        """Every method of this run by its name in the results, the baselines first and the main one
        last."""
        main = MethodSettings(schedule=self.schedule, guidance=self.guidance, recorder=self.recorder, editor=self.editor)
        filled = {
            name: m.model_copy(update={"recorder": m.recorder or self.recorder, "editor": m.editor or self.editor})
            for name, m in self.baselines.items()
        }
        skipped = self.inversion.skipped
        return {
            name: m.model_copy(update={"schedule": m.schedule.skipping(skipped)})
            for name, m in {**filled, MAIN_METHOD: main}.items()
        }


def parse(config: DictConfig) -> RunSettings:
    """Typed settings from a composed config. Raises one UserError with a line for every error found."""
    errors, settings = check(config)
    if settings is None:
        raise UserError("\n".join(errors))
    return settings


def check(config: DictConfig) -> tuple[list[str], RunSettings | None]:
    """The errors of a composed config, one sentence each, and its settings if there are none. What is wrong with installed
    variants comes first, since it may be why a config is not valid."""
    if broken := problems():
        return broken, None
    try:
        unset = sorted(OmegaConf.missing_keys(config))
        data = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
        data = {key: value for key, value in data.items() if key not in SHORT_NAMES} if isinstance(data, dict) else data
        unset = [key for key in unset if key not in SHORT_NAMES]
    except InterpolationToMissingValueError as error:
        return [_unset(key) for key in SHORT_NAMES if OmegaConf.is_missing(config, key)] or [_unset(str(error.full_key))], None
    except OmegaConfBaseException as error:
        return [f"{error.full_key or 'config'}: {str(error).splitlines()[0]}"], None
    if isinstance(data, dict) and "tracker" in data:
        data["tracker"] = over_files(data["tracker"])
    if clashes := _choose_editors(data):
        return clashes, None
    try:
        settings = RunSettings.model_validate(data)
    except UserError as error:  # of an installed package's metrics
        return [str(error)], None
    except ValidationError as error:
        found = [describe_error(item, RunSettings, data) for item in error.errors()]
        return [_unset(key) for key in unset] + [line for line in found if line.split(":")[0] not in unset], None
    return ([_unset(key) for key in unset], None) if unset else ([], _fitted(settings))


def _fitted(settings: RunSettings) -> RunSettings:
    """Without ControlNets where nothing would be drawn for them: images without cameras have no proxy."""
    bare = settings.backbone.without_control()
    if bare is settings.backbone or not lacks_cameras(settings.scene.path, settings.scene.reader):
        return settings
    return settings.model_copy(update={"backbone": bare})


def _choose_editors(data: Any) -> list[str]:
    """Completes the editors of a config as plain data, each of which may be several choices. Returns a sentence for each method
    whose editors cannot be combined."""
    methods = {"": data, **{f"baselines.{name}.": method for name, method in (data.get("baselines") or {}).items()}}
    found = []
    for where, method in methods.items():
        if isinstance(method, dict) and isinstance(method.get("editor"), dict):
            method["editor"] = over_plain(method["editor"])
            found.append(combination_problem(f"{where}editor", method["editor"]))
    return [problem for problem in found if problem]


def _unset(key: str) -> str:
    return f"{key}: no value given; set {key}=… on the command line"
