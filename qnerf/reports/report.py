"""report.html of a run: what was done, the results, what the figures mean, and warnings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from qnerf.common.files import Pixels
from qnerf.metrics.registry import metric_of, show, shown_first, title_of
from qnerf.reports.charts import line_chart
from qnerf.reports.figures import Figures
from qnerf.reports.html import render
from qnerf.reports.inspection.page import Inspection
from qnerf.reports.sheet import Column

Cell = tuple[str, str]  # of a table: its text and its class


@dataclass(frozen=True)
class HeldOut:
    """What a radiance field that was trained on the other edited views renders at one. view: its index. psnr: to the edit, dB."""

    view: int
    rendered: Pixels
    psnr: float


@dataclass(frozen=True)
class MethodReport:
    """What the report shows of one method. about: what it does, in a sentence.

    r2: for each field that was trained, the step it was trained at and R² by layer (the share of the queries'
    variance that the field explains). pictures: titled pictures, such as the queries' principal components. as_decoded: figures of
    the model's own pictures; none where these are the output.
    """

    name: str
    figures: Figures
    seconds: float
    about: str = ""
    r2: Sequence[tuple[float, Mapping[str, float]]] = field(default_factory=tuple)
    pictures: Sequence[tuple[str, Pixels]] = field(default_factory=tuple)
    as_decoded: Figures | None = None
    held_out: Sequence[HeldOut] = ()


@dataclass(frozen=True)
class RunReport:
    """Everything that report.html shows. edit: what it asks for. warnings: sentences. columns: the source and each method, with a
    picture for each view. orbit: an mp4, or None where there is none; poster: its first frame. config: the resolved config as YAML
    text. look: the capture's inspection; None for images without cameras."""

    title: str
    command: str
    edit: str
    verdict: str
    warnings: Sequence[str]
    view_names: Sequence[str]
    columns: Sequence[Column]
    orbit: bytes | None
    poster: Pixels | None
    methods: Sequence[MethodReport]
    common: Figures
    config: str
    versions: Mapping[str, str]
    look: Inspection | None = None


def render_report(report: RunReport) -> str:
    """The whole page as text."""
    shown = {key for method in report.methods for key in method.figures} | set(report.common)
    return render(
        "report.html",
        title=report.title,
        report=report,
        head=["figure", *(method.name for method in report.methods)],
        rows=figure_rows(report.methods),
        rows_as_decoded=figure_rows([replace(m, figures=m.as_decoded) for m in report.methods if m.as_decoded is not None], False),
        common=[f"{title_of(key)}: {show(key, value)}" for key, value in report.common.items() if value is not None],
        metrics=[(title_of(key), metric_of(key)) for key in shown_first() if key in shown],
        chart=_r2_chart,
        look=report.look,
    )


def figure_rows(methods: Sequence[MethodReport], timed: bool = True) -> list[list[Cell]]:
    """One row per metric, one column per method; the best is marked (the oracle, a ceiling, does not compete). timed: with the
    time that they took."""
    known = {key for method in methods for key, value in method.figures.items() if value is not None}
    keys = [key for key in dict.fromkeys([*shown_first(), *(k for m in methods for k in m.figures)]) if key in known]
    rows: list[list[Cell]] = []
    for key in keys:
        metric, best = metric_of(key), _best(key, methods)
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.better]
        cells = [(show(key, m.figures.get(key)), "best" if m.name == best else "") for m in methods]
        rows.append([(metric.label + arrow, ""), *cells])
    return rows if not timed else [*rows, [("time, seconds", ""), *((f"{m.seconds:.0f}", "") for m in methods)]]


def _best(key: str, methods: Sequence[MethodReport]) -> str | None:
    better = metric_of(key).better
    rivals = [(v, m.name) for m in methods if (v := m.figures.get(key)) is not None and m.name != "oracle"]
    if not better or len(rivals) < 2:
        return None
    return (max if better == "higher" else min)(rivals)[1]


def _r2_chart(method: MethodReport) -> Markup:
    steps = [step for step, _ in method.r2]
    layers = dict.fromkeys(layer for _, by_layer in method.r2 for layer in by_layer)
    series = {str(layer): [by_layer.get(layer) for _, by_layer in method.r2] for layer in layers}
    return line_chart(series, steps, "denoising step at which the field was trained", "R² by layer")
