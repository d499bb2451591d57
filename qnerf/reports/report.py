"""report.html: what was done, what came out, what the figures mean, and what to be wary of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qnerf.common.files import Pixels
from qnerf.reports.charts import line_chart
from qnerf.reports.figures import MEANINGS, Figures, meaning_of, show
from qnerf.reports.html import cell, escape, page, picture, table, video


@dataclass(frozen=True)
class MethodReport:
    """What the report shows of one method.

    explained: for each field that was trained, the step it was trained at and R² by layer (the share of the queries'
    variance that the field explains). pictures: titled pictures, such as the queries' principal components.
    """

    name: str
    figures: Figures
    seconds: float
    explained: Sequence[tuple[float, Mapping[str, float]]] = field(default_factory=tuple)
    pictures: Sequence[tuple[str, Pixels]] = field(default_factory=tuple)


@dataclass(frozen=True)
class RunReport:
    """Everything that report.html shows. edit: what it asks for. warnings: sentences. config: the resolved config as YAML text."""

    title: str
    command: str
    edit: str
    verdict: str
    warnings: Sequence[str]
    sheet: Pixels
    orbit: bytes
    methods: Sequence[MethodReport]
    common: Figures
    config: str
    versions: Mapping[str, str]


def render_report(report: RunReport) -> str:
    """The whole page as text."""
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f"<p>The edit: {escape(report.edit)}.</p>",
        f"<p><strong>{escape(report.verdict)}</strong></p>",
        *(f'<p class="warning">{escape(warning)}</p>' for warning in report.warnings),
        "<h2>The views</h2>",
        picture(report.sheet, "Rows: views, evenly spread over the capture. Columns: the source and each method's edit."),
        video(report.orbit, "All views in order."),
        "<h2>The figures</h2>",
        figures_table(report.methods),
        _common(report.common),
        _explanations(report),
        *(part for method in report.methods for part in _field_section(method)),
        "<h2>How to repeat it</h2>",
        f"<pre>{escape(report.command)}</pre>",
        f'<p class="small">{escape(", ".join(f"{k} {v}" for k, v in report.versions.items()))}</p>',
        f"<details><summary>The whole configuration</summary><pre>{escape(report.config)}</pre></details>",
    ]
    return page(report.title, body)


def figures_table(methods: Sequence[MethodReport]) -> str:
    """One row per metric, one column per method; the best in bold (the oracle, a ceiling, does not compete)."""
    keys = list(dict.fromkeys(key for key in (*MEANINGS, *(k for m in methods for k in m.figures)) if _known(key, methods)))
    rows = []
    for key in keys:
        meaning = meaning_of(key)
        arrow = {"higher": " ↑", "lower": " ↓"}.get(meaning.better, "")
        best = _best(key, methods)
        cells = [cell(show(key, m.figures.get(key)), "best" if m.name == best else "") for m in methods]
        rows.append([cell(meaning.label + arrow), *cells])
    rows.append([cell("time, seconds"), *(cell(f"{m.seconds:.0f}") for m in methods)])
    return table(["", *(m.name for m in methods)], rows)


def _known(key: str, methods: Sequence[MethodReport]) -> bool:
    return any(m.figures.get(key) is not None for m in methods)


def _best(key: str, methods: Sequence[MethodReport]) -> str | None:
    better = meaning_of(key).better
    rivals = [(v, m.name) for m in methods if (v := m.figures.get(key)) is not None and m.name != "oracle"]
    if not better or len(rivals) < 2:
        return None
    return (max if better == "higher" else min)(rivals)[1]


def _common(figures: Figures) -> str:
    lines = [f"{meaning_of(key).label}: {show(key, value)}" for key, value in figures.items() if value is not None]
    return f"<p>Of the scene, whatever the method: {escape('; '.join(lines))}.</p>" if lines else ""


def _explanations(report: RunReport) -> str:
    shown = {key for m in report.methods for key in m.figures} | set(report.common)
    items = [
        f"<li><b>{escape(meaning.label)}</b>: {escape(meaning.explanation)}</li>"
        for key, meaning in MEANINGS.items()
        if key in shown
    ]
    note = "↑ higher is better, ↓ lower is better. Blur lowers every disagreement: read it beside a PSNR."
    return f'<p class="small">{note}</p><ul class="small">{"".join(items)}</ul>' if items else ""


def _field_section(method: MethodReport) -> list[str]:
    parts = []
    if method.explained:
        steps = [step for step, _ in method.explained]
        layers = dict.fromkeys(layer for _, by_layer in method.explained for layer in by_layer)
        series = {str(layer): [by_layer.get(layer) for _, by_layer in method.explained] for layer in layers}
        parts.append(
            "<p>R² by layer: the share of the captured queries' variance that each field explains. Guidance can "
            "only carry what the field knows.</p>"
        )
        parts.append(line_chart(series, steps, "denoising step at which the field was trained", "R² by layer"))
    pictures = [picture(pixels, title) for title, pixels in method.pictures]
    if pictures:
        parts.append(f'<div class="pair">{"".join(pictures)}</div>')
    return [f"<h2>Inside {escape(method.name)}</h2>", *parts] if parts else []
