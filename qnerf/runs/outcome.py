"""The files that a finished run writes: figures, pictures, a capture, a page."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from qnerf.common.files import Pixels, write_image, write_json, write_text
from qnerf.common.tensors import write_tensors
from qnerf.config import MAIN_METHOD, RunSettings
from qnerf.metrics.fidelity import psnr
from qnerf.reports.figures import Figures, headline, verdict
from qnerf.reports.images import to_pixels
from qnerf.reports.inspection.drawing import drawn_view
from qnerf.reports.inspection.page import look_at
from qnerf.reports.report import HeldOut, MethodReport, RunReport, render_report
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.reports.video import first_frame, orbit_video
from qnerf.runs.about import about
from qnerf.runs.methods import Edited
from qnerf.scenes.scene import Scene

VERSIONS = ("qnerf", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Outcome:
    """One method's edit, measured. figures: of the output. as_decoded: of the model's own pictures, where the output keeps
    pixels of the source. pictures: title and file of each field's picture. held_out: what a radiance field renders at views that it
    has not seen, by their index."""

    edited: Edited
    figures: Figures
    as_decoded: Figures
    pictures: Sequence[tuple[str, Path]]
    held_out: Mapping[int, Pixels] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.edited.method


@dataclass(frozen=True)
class Results:
    """All that a run found. outcomes: the main method last. reconstruction: PSNR by view, dB. round_trip: `round_trip_psnr`'s."""

    settings: RunSettings
    scene: Scene
    outcomes: Sequence[Outcome]
    reconstruction: Mapping[str, float]
    round_trip: Mapping[str, float]

    @property
    def common(self) -> Figures:
        """Figures that belong to no method."""
        by_view, mask = self.reconstruction.values(), self.main.edited.mask
        kept = {} if mask is None else {"kept_share": (mask == 0).float().mean().item()}
        return {"reconstruction_psnr": sum(by_view) / len(by_view), **self.round_trip, **kept}

    @property
    def main(self) -> Outcome:
        return self.outcomes[-1]

    @property
    def rival(self) -> Outcome | None:
        """What the main method is read against: the independent edit, or else the first baseline."""
        others = self.outcomes[:-1]
        return next((o for o in others if o.method == "independent"), others[0] if others else None)

    @property
    def keeps_pixels(self) -> bool:
        """Whether the output has pixels of the source."""
        return self.main.edited.mask is not None

    def verdict(self, as_decoded: bool = False) -> str:
        """One sentence on main method and rival: on the output, or on the model's own pictures."""
        if self.rival is None:
            return "Only one method was run, so there is nothing to compare."
        figures = {o.method: o.as_decoded if as_decoded else o.figures for o in self.outcomes}
        return verdict(figures, MAIN_METHOD, self.rival.method)


def write_edit(folder: Path, edited: Edited) -> list[tuple[str, Path]]:
    """One method's files, which outlive the store's: its latents, its fields' R² and their pictures. The pictures' titles and
    files."""
    name, depth = edited.method, edited.field_depth
    tensors = {"latents": edited.latents, **({} if depth is None else {"field_depth": depth.cpu()})}
    if edited.mask is not None:
        tensors["images"] = (255 * edited.images.clamp(0, 1)).round().byte().cpu()
    write_tensors(folder / f"{name}.safetensors", tensors)
    intervals, pictures = [], []
    for trained in edited.fields:
        file = f"step{trained.step:03d}.png"
        intervals.append({"step": trained.step, "r2": trained.r2, "picture": file})
        path = folder / f"{name}_{file}"
        write_image(path, trained.picture)
        title = f"{name}, field of step {trained.step}: queries, rendered queries (first three components), expected depth"
        pictures.append((title, path))
    write_json(folder / f"{name}.json", {"seconds": edited.seconds, "intervals": intervals})
    return pictures


def write_outcome(folder: Path, results: Results, command: str, warnings: Sequence[str]) -> None:
    """Every file of the run folder but `write_edit`'s and the mark that it is done."""
    scene, detail = results.scene, results.settings.control.detail
    write_json(folder / "metrics.json", metrics_document(results, scene.name, detail))
    write_text(folder / "comparison.csv", comparison_table(results, scene.name, detail))
    results.main.edited.save(folder)
    columns = _columns(results)
    chosen = [c for c in columns if c.title in _shown(results)]
    title = f"{scene.name}: {edit_in_words(scene)}"
    write_image(folder / "contact_sheet.png", contact_sheet(chosen, scene.view_names, title, results.verdict()))
    if len(columns) > len(chosen):
        write_image(folder / "comparison.png", contact_sheet(columns, scene.view_names, title, results.verdict()))
    orbit, filmed = folder / "orbit.mp4", [c for c in chosen if c.title != "true edit"]
    is_filmed = scene.posed and orbit_video(orbit, filmed)
    report = _report(results, command, warnings, columns)
    if is_filmed:
        report = replace(report, orbit=orbit.read_bytes(), poster=first_frame(filmed))
    write_text(folder / "report.html", render_report(report))


def edit_in_words(scene: Scene) -> str:
    """What the edit asks for: new words, or the same words in the target's pose."""
    if not scene.posed:
        pairs = list(dict.fromkeys(scene.prompts))
        more = f", and {len(pairs) - 1} other edits, each of an image of its own" if len(pairs) > 1 else ""
        return f"from “{pairs[0][0]}” to “{pairs[0][1]}”{more}"
    if scene.source_prompt == scene.target_prompt:
        return f"“{scene.source_prompt}”, moved from the proxy's source pose to its target pose"
    return f"from “{scene.source_prompt}” to “{scene.target_prompt}”, and from the proxy's source pose to its target pose"


def metrics_document(results: Results, scene: str, detail: str) -> Mapping[str, object]:
    """metrics.json: the main method's figures at the top, every method's under "methods". Where pixels of the source are kept,
    those of the model's own pictures are under "methods_as_decoded"."""
    decoded = {"methods_as_decoded": {o.method: dict(o.as_decoded) for o in results.outcomes}}
    return {
        **results.main.figures,
        **results.common,
        "reconstruction_psnr_by_view": list(results.reconstruction.values()),
        "scene": scene,
        "control_detail": detail,
        "methods": {o.method: {**o.figures, "seconds": o.edited.seconds} for o in results.outcomes},
        **(decoded if results.keeps_pixels else {}),
        "verdict": results.verdict(),
    }


def comparison_table(results: Results, scene: str, detail: str) -> str:
    """comparison.csv: a row per method of the scene; where pixels of the source are kept, one more per method for the model's own
    pictures."""
    keys = list(dict.fromkeys(key for o in results.outcomes for key in o.figures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["scene", "control_detail", "method", "pictures", *keys, *results.common, "seconds"])
    rows = [(o, "output", o.figures) for o in results.outcomes]
    if results.keeps_pixels:
        rows += [(o, "as decoded", o.as_decoded) for o in results.outcomes]
    for o, pictures, figures in rows:
        values = [*(figures.get(key) for key in keys), *results.common.values(), o.edited.seconds]
        writer.writerow([scene, detail, o.method, pictures, *("" if v is None else f"{v:.6g}" for v in values)])
    return buffer.getvalue()


def _columns(results: Results) -> list[Column]:
    """Source, the truth where it is known, and each method with its figures."""
    scene = results.scene
    columns = [Column("source", [to_pixels(image) for image in scene.images])]
    if scene.truth is not None:
        columns.append(Column("true edit", [to_pixels(image) for image in scene.truth.edited_images]))
    for o in results.outcomes:
        columns.append(Column(o.method, [to_pixels(image) for image in o.edited.images], headline(o.figures)))
    return columns


def _overlay(scene: Scene) -> list[Column]:
    """The source views with the proxy drawn over them, before and after the edit; none where there is no proxy."""
    if scene.proxy is None or not scene.proxy.bones:
        return []
    pixels, cameras = [to_pixels(image) for image in scene.images], scene.cameras.to(torch.device("cpu"))
    whole = (0, 0, pixels[0].shape[1], pixels[0].shape[0])
    drawn = [drawn_view(image, cameras[i : i + 1], scene.proxy, whole) for i, image in enumerate(pixels)]
    return [Column("proxy", drawn, ("blue: before the edit", "orange: after it"))]


def _shown(results: Results) -> set[str]:
    """The columns of the contact sheet: the comparing sheet has all methods."""
    return {"source", "true edit", MAIN_METHOD} | ({results.rival.method} if results.rival else set())


def _report(results: Results, command: str, warnings: Sequence[str], columns: Sequence[Column]) -> RunReport:
    settings, scene = results.settings, results.scene
    return RunReport(
        title=f"{settings.experiment}: {scene.name}",
        command=command,
        edit=edit_in_words(scene),
        verdict=results.verdict(),
        warnings=warnings,
        view_names=scene.view_names,
        columns=[*columns[:1], *_overlay(scene), *columns[1:]],
        orbit=None,
        poster=None,
        methods=[_method_report(o, about(settings.methods()[o.method])) for o in results.outcomes],
        common=results.common,
        config=OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json"))),
        versions={**{name: version_of(name) for name in VERSIONS}, "python": platform.python_version()},
        look=look_at(scene) if scene.posed else None,
    )


def version_of(package: str) -> str:
    """Its installed version. qnerf itself also runs from a checkout that nobody installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _method_report(outcome: Outcome, what: str) -> MethodReport:
    pictures = [(title, np.asarray(Image.open(path))) for title, path in outcome.pictures if path.exists()]
    edited = outcome.edited
    decoded = outcome.as_decoded if edited.mask is not None else None
    held_out = [HeldOut(view, pixels, _likeness(pixels, edited.images[view])) for view, pixels in outcome.held_out.items()]
    return MethodReport(edited.method, outcome.figures, edited.seconds, what, list(edited.r2.items()), pictures, decoded, held_out)


def _likeness(pixels: Pixels, image: Tensor) -> float:
    """PSNR, dB, of a picture (H, W, 3) to a view (3, H, W)."""
    return psnr(torch.tensor(pixels).permute(2, 0, 1)[None] / 255, image[None].cpu())
