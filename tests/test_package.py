"""The wheel: what is in it, what it says of itself, and that it runs outside of a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

import qnerf
from qnerf.common import installation, places
from qnerf.config import RunSettings, parse
from qnerf.errors import UserError
from qnerf.run import CONFIGS
from qnerf.runs.finished import FINISHED, finished_folder
from qnerf.runs.folder import RunFolder
from qnerf.runs.identity import read_inputs, run_folder
from qnerf.runs.stages import Stages
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from tests.commands import run_commands

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
SHORT = (
    "scene.views=4", "steps=4", "schedule.interval=2", "field.optimiser.iterations=5", "rgb_field.optimiser.iterations=5",
    "metrics=quick", "device=cpu",
)  # fmt: skip


def wheel() -> Any:
    return pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))


def run(python: str | Path, *arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """A Python that sees nothing of this checkout."""
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=cwd, env=without_checkout(path), capture_output=True, text=True, check=False)


def without_checkout(path: str = "") -> dict[str, str]:
    """The environment of such a Python; path: what it sees besides."""
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**plain, "PYTHONPATH": path} if path else plain


def test_the_wheel_holds_the_code_its_files_and_the_configs_and_nothing_else() -> None:
    found = {file.distribution_path for file in wheel().recurse_included_files()}
    packages = (ROOT / "qnerf", ROOT / "hydra_plugins")
    code = {path for each in packages for path in each.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {path.relative_to(ROOT).as_posix() for path in code}
    configs = {f"qnerf/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert found == expected | configs
    assert {"qnerf/py.typed", "qnerf/conf/config.yaml", "qnerf/assets/proxies/fox_box.json"} <= found
    assert {"qnerf/reports/templates/report.html", "qnerf/reports/comparison/page.css"} <= found


def test_the_metadata_names_version_pythons_and_extras() -> None:
    core = wheel().metadata.core
    assert wheel().metadata.version == qnerf.__version__
    assert core.requires_python == "<3.14,>=3.11"
    named = [entry.rpartition(" ")[2] for entry in core.classifiers if "Python :: 3" in entry]
    assert named == list(PYTHONS)
    extras = core.optional_dependencies
    assert set(extras["all"]) == {
        package for name in set(extras) - {"all", "dev", "docs", "gsplat", "rtmlib"} for package in extras[name]
    }


def test_configs_are_found_beside_the_package_and_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.configs() == ROOT / "conf"
    monkeypatch.setattr(places, "PACKAGE", tmp_path)
    (tmp_path / "conf").mkdir()
    assert places.configs() == tmp_path / "conf"


def test_an_asset_is_found_by_name_and_any_other_path_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.resolve("asset:fox_box.json", "scene.proxy", "proxies").is_file()
    assert places.resolve("asset:puppet", "stage.initial").is_dir()
    monkeypatch.setenv("HOME", "/somebody")
    assert places.resolve("~/box.json", "scene.proxy", "proxies") == Path("/somebody/box.json")
    with pytest.raises(UserError, match=r"scene.proxy is 'asset:cat.json'; expected .*asset:fox_box.json, asset:fox_ears.json"):
        places.resolve("asset:cat.json", "scene.proxy", "proxies")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ('{"url": "file:///x", "dir_info": {"editable": true}}', f"pip install -e '{ROOT}[ray]'"),
        ('{"url": "file:///x", "dir_info": {}}', "pip install 'qnerf[ray]'"),
        ('{"url": "file:///x.whl", "archive_info": {}}', "pip install 'qnerf[ray]'"),
        (None, "pip install 'qnerf[ray]'"),
    ],
)
def test_the_install_command_is_that_of_this_copy(origin: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin))
    assert installation.install_command("ray") == expected


def test_without_an_installed_package_the_install_command_is_the_checkouts(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", missing)
    assert installation.install_command("ray") == f"pip install -e '{ROOT}[ray]'"


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    write_scene(tmp_path / "scene", build_scene(0, views=2, size=32))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", [f"scene.path={tmp_path / 'scene'}", f"output_dir={tmp_path}"]))


def test_a_finished_run_is_found_and_an_unfinished_or_unknown_one_is_not(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finished_folder(settings) is None
    with RunFolder(run_folder(settings, Stages(settings, read_inputs(settings)).identity())) as folder:
        assert finished_folder(settings) is None
        folder.mark_done()
    assert finished_folder(settings) == folder.path
    assert finished_folder(settings.model_copy(update={"seed": 1})) is None
    monkeypatch.setattr("qnerf.runs.identity.weights_revision", lambda backbone: None)  # a hub's, which is not here
    assert finished_folder(settings) is None
    scene = settings.scene.model_copy(update={"path": "nowhere"})
    assert finished_folder(settings.model_copy(update={"scene": scene})) is None


def test_a_finished_run_is_told_before_torch_is_imported(settings: RunSettings, tmp_path: Path) -> None:
    with RunFolder(run_folder(settings, Stages(settings, read_inputs(settings)).identity())) as folder:
        folder.mark_done()
    overrides = [f"scene.path={settings.scene.path}", f"output_dir={tmp_path}"]
    code = f"import sys; sys.argv = {['qnerf', *overrides]}; from qnerf.run import main; main(); print('torch' in sys.modules)"
    done = run(sys.executable, "-c", code, cwd=tmp_path, path=str(ROOT))
    assert done.stdout.strip() == "False", done.stderr
    assert done.stderr.strip() == FINISHED.format(folder.path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as the wheel lays it out."""
    site = tmp_path_factory.mktemp("site")
    for file in wheel().recurse_included_files():
        place = site / file.distribution_path
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copy if place.suffix in (".py", ".yaml", ".json") else os.link)(file.path, place)
    return site


COMMANDS = {
    ("validate", "+exp=shape"): "Valid: 1 run of shape",
    ("ls", "schedule"): "progressive",
    ("run", "--cfg", "job", "+exp=capture", "scene.path=x"): "proxy: asset:fox_box.json",
    ("pretrain", "--help"): "diffusion",
    ("evaluate_backbone", "--help"): "sweep_views",
    ("benchmark", "--help"): "usage",
    ("store", "--help"): "usage",
}


@pytest.mark.integration
def test_a_copy_outside_of_a_checkout_has_what_its_commands_need(installed: Path, tmp_path: Path) -> None:
    told = run_commands([("qnerf", *arguments) for arguments in COMMANDS], tmp_path, without_checkout(str(installed)))
    for (code, out, err), (arguments, expected) in zip(told, COMMANDS.items(), strict=True):
        assert code == 0, (arguments, err)
        assert expected in out, arguments
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_the_code_has_one_version_wherever_it_lies(installed: Path, tmp_path: Path) -> None:
    code = "from qnerf.common import sources; print(sources.__file__, sources.code_version('qnerf.runs.methods'))"
    (here, ours), (there, theirs) = (
        run(sys.executable, "-c", code, cwd=tmp_path, path=str(path)).stdout.split() for path in (ROOT, installed)
    )
    assert here != there
    assert ours == theirs


def python_of(version: str) -> str | None:
    """A Python of a version that is found by its name and runs."""
    name = shutil.which(f"python{version}")
    return name if name and subprocess.run([name, "-c", ""], capture_output=True).returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_a_wheel_runs_in_an_empty_environment_from_an_empty_folder(version: str, tmp_path: Path) -> None:
    """Downloads what the wheel needs: minutes, and gigabytes where PyTorch's wheel carries CUDA."""
    python = python_of(version)
    if python is None:
        pytest.skip(f"needs a python{version}")
    environment, folder, capture = tmp_path / "env", tmp_path / "empty", tmp_path / "capture"
    folder.mkdir()
    write_scene(capture, build_scene(0, views=4, size=128))
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    pip = (str(environment / "bin" / "python"), "-m", "pip")
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    [built] = tmp_path.glob("qnerf-*.whl")
    subprocess.run([*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(built)], check=True)
    command = environment / "bin" / "qnerf"
    for arguments in (
        ("+exp=smoke",),
        ("+exp=shape", *SHORT),
        ("+exp=capture", f"scene.path={capture}", *SHORT),
        ("-m", *SHORT, "baselines=[]", "seed=0,1", "guidance.strength=.25,.5"),
    ):
        done = run(command, "run", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("outputs/*/*/report.html"))) == 8, "seven runs and the sweep's page"
    [sweep] = folder.glob("outputs/sweeps/*/sweep.json")
    assert json.loads(sweep.read_text())
