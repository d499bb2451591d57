"""The one place where a composed Hydra config becomes typed settings.

Everything is converted and validated once, every error is reported together, and neither torch nor diffusers is
imported: a typo is answered in about a second, before any model is loaded.
"""

from typing import Annotated

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator

from qnerf.attention.settings import CaptureSettings
from qnerf.backbones.settings import BackboneSettings
from qnerf.editors.settings import EditorSettings
from qnerf.errors import UserError
from qnerf.fields.settings import FieldSettings, RgbFieldSettings
from qnerf.guidance.settings import GuidanceSettings
from qnerf.inversions.settings import InversionSettings
from qnerf.metrics.settings import MetricsSettings
from qnerf.runs.messages import describe_error
from qnerf.scenes.settings import Detail, SceneSettings
from qnerf.schedules.settings import OneShotSettings, ProgressiveSettings, ScheduleSettings
from qnerf.schedules.stops import interval_stops
from qnerf.settings import Settings
from qnerf.store.settings import StoreSettings
from qnerf.sweeps.settings import SweepSettings
from qnerf.trackers.settings import TrackerSettings

MAIN_METHOD = "full"  # what the results call the method that the top-level schedule and guidance describe

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ControlSettings(Settings):
    """The drawing of the 3-D proxy that ControlNet sees."""

    detail: Detail  # from the full skeleton to the edges of a box: how loose it is
    scale: float = Field(ge=0, le=2)  # weight of ControlNet's residuals
    margin: float = Field(default=0.1, ge=0)  # flesh round the bones, as a share of the proxy's height


class MethodSettings(Settings):
    """One way to edit the views: what is consolidated when, and how the views are pulled towards it."""

    schedule: ScheduleSettings
    guidance: GuidanceSettings
    capture: CaptureSettings | None = None  # none: the run's own
    editor: EditorSettings | None = None  # none: the run's own


class RunSettings(Settings):
    """Everything that a run is made of. conf/config.yaml shows the defaults."""

    experiment: Name  # the folder under output_dir
    seed: int = Field(ge=0, lt=2**32)
    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    deterministic: bool = False  # bit-equal results from run to run on a GPU too, slower
    chunk_size: int = Field(gt=0)  # views that go through the UNet together: memory and speed, never results
    output_dir: str = Field(min_length=1)
    scene: SceneSettings
    backbone: BackboneSettings
    control: ControlSettings
    inversion: InversionSettings
    editor: EditorSettings
    capture: CaptureSettings
    field: FieldSettings
    rgb_field: RgbFieldSettings
    guidance: GuidanceSettings
    schedule: ScheduleSettings
    baselines: dict[Name, MethodSettings] = Field(default_factory=dict)  # empty with baselines=[]
    metrics: MetricsSettings
    tracker: TrackerSettings
    store: StoreSettings = StoreSettings()
    sweep: SweepSettings = SweepSettings()

    @model_validator(mode="after")
    def _methods_fit(self) -> "RunSettings":
        if MAIN_METHOD in self.baselines:
            raise ValueError(f"baselines.{MAIN_METHOD} is the name of the main method; give the baseline another name")
        for name, method in self.methods().items():
            if not isinstance(method.schedule, ProgressiveSettings | OneShotSettings):
                continue
            where = "" if name == MAIN_METHOD else f"baselines.{name}."
            interval, steps = method.schedule.interval, self.inversion.steps
            if interval >= steps:
                raise ValueError(
                    f"{where}schedule.interval: got {interval}; expected less than the {steps} steps of inversion.steps, "
                    "or no field is ever trained"
                )
            if not interval_stops(method.schedule, method.guidance, steps):
                raise ValueError(
                    f"{where}guidance.until: guidance ends before step {interval} of {steps}, where the first field is trained; "
                    f"expected more than {interval / steps:.3g}, or a shorter {where}schedule.interval"
                )
        return self

    def methods(self) -> dict[str, MethodSettings]:
        """Every method of this run by its name in the results, the baselines first and the main one last."""
        main = MethodSettings(schedule=self.schedule, guidance=self.guidance, capture=self.capture, editor=self.editor)
        filled = {
            name: m.model_copy(update={"capture": m.capture or self.capture, "editor": m.editor or self.editor})
            for name, m in self.baselines.items()
        }
        return {**filled, MAIN_METHOD: main}


def parse(config: DictConfig) -> RunSettings:
    """Typed settings from a composed config. Raises one UserError with a line for every error found."""
    errors, settings = check(config)
    if settings is None:
        raise UserError("\n".join(errors))
    return settings


def check(config: DictConfig) -> tuple[list[str], RunSettings | None]:
    """The errors of a composed config, one sentence each, and its settings if there are none."""
    try:
        unset = sorted(OmegaConf.missing_keys(config))
        data = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        return [f"{error.full_key or 'config'}: {str(error).splitlines()[0]}"], None
    try:
        settings = RunSettings.model_validate(data)
    except ValidationError as error:
        found = [describe_error(item, RunSettings, data) for item in error.errors()]
        return [_unset(key) for key in unset] + [line for line in found if line.split(":")[0] not in unset], None
    return ([_unset(key) for key in unset], None) if unset else ([], settings)


def _unset(key: str) -> str:
    return f"{key}: no value given; expected {key}=… on the command line"
