"""The files that a finished run writes: figures, pictures, a capture, a page."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from qnerf.common.files import write_image, write_json, write_text
from qnerf.config import MAIN_METHOD
from qnerf.reports.export import export_views
from qnerf.reports.figures import Figures, headline, verdict
from qnerf.reports.images import to_pixels
from qnerf.reports.report import MethodReport, RunReport, render_report
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.reports.video import orbit_video
from qnerf.runs.methods import Edit
from qnerf.runs.work import Workshop
from qnerf.scenes.scene import Scene

VERSIONS = ("qnerf", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Outcome:
    """One method's edit, decoded and measured. images: (N, 3, H, W) in [0, 1]."""

    edit: Edit
    images: Tensor
    figures: Figures


@dataclass(frozen=True)
class Results:
    """All that a run found. outcomes: the main method last. common: figures that belong to no method."""

    outcomes: Sequence[Outcome]
    common: Figures
    reconstruction_by_view: Sequence[float]

    @property
    def main(self) -> Outcome:
        return self.outcomes[-1]

    @property
    def rival(self) -> Outcome | None:
        """What the main method is read against: the independent edit, or else the first baseline."""
        others = self.outcomes[:-1]
        return next((o for o in others if o.edit.name == "independent"), others[0] if others else None)

    def verdict(self) -> str:
        """One sentence on main method and rival."""
        if self.rival is None:
            return "Only one method was run, so there is nothing to compare."
        figures = {o.edit.name: o.figures for o in self.outcomes}
        return verdict(figures, MAIN_METHOD, self.rival.edit.name)


def write_outcome(work: Workshop, results: Results, command: str, warnings: Sequence[str]) -> None:
    """Every file of the run folder but the mark that it is done."""
    path, scene = work.folder.path, work.scene
    write_json(path / "metrics.json", metrics_document(results, scene.name, work.settings.control.detail))
    write_text(path / "comparison.csv", comparison_table(results, scene.name, work.settings.control.detail))
    export_views(path, [to_pixels(image) for image in results.main.images], scene)
    columns = _columns(work, results)
    chosen = [c for c in columns if c.title in _shown(results)]
    title = f"{scene.name}: {edit_in_words(scene)}"
    sheet = contact_sheet(chosen, scene.view_names, title, results.verdict())
    write_image(path / "contact_sheet.png", sheet)
    if len(columns) > len(chosen):
        write_image(path / "comparison.png", contact_sheet(columns, scene.view_names, title, results.verdict()))
        sheet = np.asarray(Image.open(path / "comparison.png"))
    orbit = path / "orbit.mp4"
    filmed = orbit_video(orbit, [c for c in chosen if c.title != "true edit"])
    report = _report(work, results, command, warnings, sheet, orbit.read_bytes() if filmed else None)
    write_text(path / "report.html", render_report(report))
    for name in ("contact_sheet", "comparison"):
        if (path / f"{name}.png").exists():
            work.tracker.image(name, path / f"{name}.png")


def edit_in_words(scene: Scene) -> str:
    """What the edit asks for: new words, or the same words in the target's pose."""
    if scene.source_prompt == scene.target_prompt:
        return f"“{scene.source_prompt}”, moved from the proxy's source pose to its target pose"
    return f"from “{scene.source_prompt}” to “{scene.target_prompt}”, and from the proxy's source pose to its target pose"


def metrics_document(results: Results, scene: str, detail: str) -> Mapping[str, object]:
    """metrics.json: the main method's figures at the top, every method's under "methods"."""
    return {
        **results.main.figures,
        **results.common,
        "reconstruction_psnr_by_view": list(results.reconstruction_by_view),
        "scene": scene,
        "control_detail": detail,
        "methods": {o.edit.name: {**o.figures, "seconds": o.edit.seconds} for o in results.outcomes},
        "verdict": results.verdict(),
    }


def comparison_table(results: Results, scene: str, detail: str) -> str:
    """comparison.csv: one row per method of the scene."""
    keys = list(dict.fromkeys(key for o in results.outcomes for key in o.figures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["scene", "control_detail", "method", *keys, *results.common, "seconds"])
    for o in results.outcomes:
        values = [*(o.figures.get(key) for key in keys), *results.common.values(), o.edit.seconds]
        writer.writerow([scene, detail, o.edit.name, *("" if v is None else f"{v:.6g}" for v in values)])
    return buffer.getvalue()


def _columns(work: Workshop, results: Results) -> list[Column]:
    """Source, the truth where it is known, and each method with its figures."""
    scene = work.scene
    columns = [Column("source", [to_pixels(image) for image in scene.images])]
    if scene.truth is not None:
        columns.append(Column("true edit", [to_pixels(image) for image in scene.truth.edited_images]))
    for o in results.outcomes:
        columns.append(Column(o.edit.name, [to_pixels(image) for image in o.images], headline(o.figures)))
    return columns


def _shown(results: Results) -> set[str]:
    """The columns of the contact sheet: the comparing sheet has all methods."""
    return {"source", "true edit", MAIN_METHOD} | ({results.rival.edit.name} if results.rival else set())


def _report(
    work: Workshop, results: Results, command: str, warnings: Sequence[str], sheet: np.ndarray, orbit: bytes | None
) -> RunReport:
    settings, scene = work.settings, work.scene
    return RunReport(
        title=f"{settings.experiment}: {scene.name}",
        command=command,
        edit=edit_in_words(scene),
        verdict=results.verdict(),
        warnings=warnings,
        sheet=sheet,
        orbit=orbit,
        methods=[_method_report(o) for o in results.outcomes],
        common=results.common,
        config=OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json"))),
        versions={**{name: version_of(name) for name in VERSIONS}, "python": platform.python_version()},
    )


def version_of(package: str) -> str:
    """Its installed version. qnerf itself also runs from a checkout that nobody installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _method_report(outcome: Outcome) -> MethodReport:
    edit = outcome.edit
    pictures = [(title, np.asarray(Image.open(path))) for title, path in edit.pictures if Path(path).exists()]
    return MethodReport(edit.name, outcome.figures, edit.seconds, edit.r2, pictures)
