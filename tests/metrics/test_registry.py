"""The registry: one file adds a metric to everything, clashes are refused, torch is not needed to know what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import qnerf.metrics.groups
from qnerf.benchmark.tables import ERROR_PARTS, ERRORS, WARP_ERRORS
from qnerf.common import sources
from qnerf.config import RunSettings, SweepSettings, parse
from qnerf.errors import UserError
from qnerf.metrics.__main__ import page
from qnerf.metrics.evaluate import evaluate_group
from qnerf.metrics.registry import (
    Metric,
    checked,
    group_reads,
    groups,
    headlines,
    metric_of,
    objectives,
    registered,
    shown_first,
    title_of,
)
from qnerf.reports.comparison.page import shown_metrics
from qnerf.reports.report import MethodReport, figure_rows
from qnerf.run import CONFIGS
from qnerf.runs.identity import Inputs
from qnerf.runs.stages import Stages
from qnerf.scenes.procedural.build import build_scene

DUMMY = """
from qnerf.metrics.registry import Metric

def measure(edited):
    return {"redness": edited.images[:, 0].mean().item() + edited.settings["metrics.depth_tolerance"]}

METRICS = (
    Metric("redness", "redness", (), "", "higher", "How red the views are.", "ours", measure, "redness",
           reads=("metrics.depth_tolerance",)),
)
"""
CONFIG = "defaults: [default]\ngroups: [fidelity, redness]\n"


@pytest.fixture
def fresh() -> Iterator[None]:
    """The registry is read anew, and again after the test."""
    registered.cache_clear()
    yield
    registered.cache_clear()
    for name in [name for name in sys.modules if name.startswith("strange") or name.endswith(".redness")]:
        del sys.modules[name]


@pytest.fixture(params=["a file", "a plug-in"])
def dummy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> Path:
    """A metric of one file beside the package's own, or in an installed package; the folder of its config."""
    if request.param == "a file":
        (tmp_path / "redness.py").write_text(DUMMY)
        monkeypatch.setattr(qnerf.metrics.groups, "__path__", [*qnerf.metrics.groups.__path__, str(tmp_path)])
    else:
        plug_in(tmp_path, monkeypatch, DUMMY)
    (tmp_path / "conf" / "metrics").mkdir(parents=True)
    (tmp_path / "conf" / "metrics" / "redness.yaml").write_text(CONFIG)
    return tmp_path / "conf"


def plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """An installed package with one metric."""
    (folder / "strange").mkdir()
    (folder / "strange" / "__init__.py").touch()
    (folder / "strange" / "redness.py").write_text(source)
    info = folder / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[qnerf.metrics]\nredness = strange.redness:METRICS\n")
    monkeypatch.syspath_prepend(folder)


def settings_with(folder: Path, *overrides: str) -> RunSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", [f"hydra.searchpath=[file://{folder}]", *overrides]))


def test_one_file_and_one_config_add_a_metric_to_everything(dummy: Path) -> None:
    settings = settings_with(dummy, "metrics=redness", "sweep.objectives=[redness]")
    assert settings.metrics.measured() == ("fidelity", "redness", "depth")
    scene = build_scene(seed=2, views=4, size=16)
    expected = scene.images[:, 0].mean().item() + settings.metrics.depth_tolerance
    assert evaluate_group("redness", scene.images, scene, settings) == {"redness": pytest.approx(expected)}
    stages = Stages(settings, Inputs("scene", "weights"))
    assert "redness" in stages.groups()
    other = settings_with(dummy, "metrics=redness", "metrics.depth_tolerance=.05")
    method = settings.methods()["full"]
    keys = [Stages(s, Inputs("scene", "weights")).figures(method, "redness") for s in (settings, other)]
    assert keys[0] != keys[1], "a setting that a metric reads is in its identity"
    reports = [MethodReport("full", {"redness": 0.25, "psnr_object": 20.0}, 1.0), MethodReport("hard", {"redness": 0.5}, 1.0)]
    rows = figure_rows(reports)
    assert [("redness ↑", ""), ("0.2500", ""), ("0.5000", "best")] in rows
    assert shown_metrics(["x", "redness"]) == ["redness", "x"]


def test_a_metric_cannot_read_what_it_does_not_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    plug_in(tmp_path, monkeypatch, DUMMY.replace('reads=("metrics.depth_tolerance",)', "reads=()"))
    scene = build_scene(seed=2, views=4, size=16)
    with pytest.raises(KeyError, match="depth_tolerance"):
        evaluate_group("redness", scene.images, scene, settings_with(tmp_path))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            DUMMY.replace('Metric("redness"', 'Metric("psnr_object"'),
            "two metrics are named 'psnr_object', in .*fidelity and in entry",
        ),
        (DUMMY.replace('"redness", (), ', '"fidelity", (), '), "two functions compute the group of metrics 'fidelity'"),
        ("METRICS = 3\n", "entry point 'redness' .*installed by strange.* is 3, expected a tuple of .*Metric"),
        ("import nowhere_at_all\n", "entry point 'redness' .* cannot be imported .*nowhere_at_all.*correct or uninstall"),
    ],
    ids=["name", "group", "no metrics", "no import"],
)
def test_a_plug_in_that_does_not_fit_is_refused(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    plug_in(tmp_path, monkeypatch, source)
    with pytest.raises(UserError, match=expected):
        registered()


def test_a_setting_that_is_not_there_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    plug_in(tmp_path, monkeypatch, DUMMY.replace('reads=("metrics.depth_tolerance",)', 'reads=("metrics.colour",)'))
    settings = settings_with(tmp_path, "metrics.groups=[redness]")
    with pytest.raises(UserError, match=r"a metric reads the setting 'metrics\.colour', which does not exist"):
        Stages(settings, Inputs("scene", "weights")).identity()


def test_what_there_is_is_known_without_torch() -> None:
    script = (
        "import sys; from qnerf.metrics.settings import MetricsSettings; from qnerf.config import SweepSettings;"
        "MetricsSettings(); SweepSettings(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_the_order_of_tables_and_of_reports() -> None:
    assert list(registered())[:3] == ["psnr_truth", "ssim_truth", "psnr_object"]
    assert headlines() == ["warp_error_moved", "psnr_object", "psnr_truth"]
    assert shown_first()[:3] == ["warp_error_moved", "warp_error_moved_floor", "psnr_object"]
    assert sorted(shown_first()) == sorted(registered())
    after = dict(zip(shown_first(), shown_first()[1:], strict=False))
    assert after["silhouette_iou"] == "silhouette_iou_ceiling"
    assert all(after[name] == f"{name}_floor" for name in registered() if f"{name}_floor" in registered())
    assert title_of("silhouette_iou_ceiling") == f"{metric_of('silhouette_iou').label} of the true views (ceiling)"
    twice = [("a", metric) for metric in registered().values()]
    assert list(checked(twice[::-1])) == list(registered()), "not that of files"


def test_every_figure_and_what_the_benchmark_makes_of_it() -> None:
    assert set(ERRORS) == {"warp_error_object", "warp_error_moved", "error_of_mean", "error_about_mean"}
    assert (WARP_ERRORS, ERROR_PARTS) == (("warp_error_object", "warp_error_moved"), ("error_of_mean", "error_about_mean"))
    assert not any(registered()[name].better for name in registered() if name.endswith("_floor"))
    assert {name for name in registered() if registered()[name].is_bound} == {
        "warp_error_object_floor",
        "warp_error_moved_floor",
        "silhouette_iou_ceiling",
        "psnr_object_ceiling",
        "psnr_moved_ceiling",
    }
    assert "warp_error_moved_floor" not in objectives()
    with pytest.raises(ValueError, match="this is not a figure that can be better or worse; nearest valid: warp_error_moved"):
        SweepSettings(objectives=("warp_error_moved_floor",))


def test_every_group_says_which_settings_it_reads() -> None:
    assert {group: group_reads(group) for group in groups()} == {
        "fidelity": [],
        "consistency": ["metrics.depth_tolerance"],
        "errors": ["metrics.depth_tolerance"],
        "silhouette": ["metrics.silhouette_threshold"],
        "heldout": ["metrics.heldout_every", "rgb_field", "scene.focus", "scene.radius", "seed"],
        "radiance": ["metrics.depth_tolerance", "metrics.heldout_every", "rgb_field", "scene.focus", "scene.radius", "seed"],
        "epipolar": [],
        "distribution": [],
        "depth": [],
    }


def test_a_metric_that_the_run_computes_is_no_choice() -> None:
    assert "reconstruction_psnr" in objectives()
    assert "reconstruction" not in groups()
    other = replace(registered()["psnr_object"], name="again")
    assert isinstance(other, Metric)
    assert list(checked([("a", other)])) == ["again"]


def test_the_page_of_figures_is_the_registrys() -> None:
    written = (CONFIGS.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m qnerf.metrics > docs/metrics.md"


def test_a_plug_ins_code_is_in_the_identity_of_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    plug_in(tmp_path, monkeypatch, DUMMY)
    settings = settings_with(tmp_path, "metrics.groups=[redness]")
    keys = []
    for channel in ("0", "1"):
        (tmp_path / "strange" / "redness.py").write_text(DUMMY.replace("[:, 0]", f"[:, {channel}]"))
        for function in (sources.code_version, sources._imports, sources._source, sources._path):
            function.cache_clear()
        keys.append(Stages(settings, Inputs("scene", "weights")).figures(settings.methods()["full"], "redness"))
    assert keys[0] != keys[1]
