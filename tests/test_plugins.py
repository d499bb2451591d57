"""A variant of each kind is one file and one config: in an installed package (tests/plugin), and in the package itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from qnerf.run import CONFIGS
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from tests.commands import Told, run_commands

pytestmark = pytest.mark.integration

ROOT, PLUGIN = CONFIGS.parent, Path(__file__).parent / "plugin"
CHOICES = (
    *("backbone=tiny", "editor=anchored", "guidance=fading", "inversion=fixed_point", "metrics=redness", "baselines=[halves]"),
    *("steps=4", "schedule=progressive", "schedule.interval=2", "schedule.feedback=null", "field.optimiser.iterations=2"),
    *("scene.size=32", "control.detail=box", "device=cpu"),
)
VARIANTS = {  # where each file of the example would be inside the package
    "anchored": "editors", "fading": "guidance", "halves": "schedules", "listing": "scenes/readers", "redness": "metrics/groups",
    "fixed_point": "inversions", "tiny": "backbones",
}  # fmt: skip


def wheel(source: Path, folder: Path) -> Path:
    """The wheel of a package whose pyproject.toml is like the example's, as its build backend would write it."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    package = project["name"].replace("-", "_")
    info, path = f"{package}-{project['version']}.dist-info", folder / f"{package}-{project['version']}-py3-none-any.whl"
    points = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in project["entry-points"].items()
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in (source / package).rglob("*") if p.is_file() and p.suffix in (".py", ".yaml")):
            archive.write(file, file.relative_to(source))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "\n".join(points))
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*archive.namelist(), f"{info}/RECORD"]))
    return path


def install(source: Path, folder: Path) -> Path:
    """The folder that the package is installed into, by pip."""
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(wheel(source, folder))], check=True)
    return folder / "site"


def unpack(source: Path, folder: Path) -> Path:
    """As `install`, without pip, which does no more with such a wheel than unpack it."""
    folder.mkdir()
    with zipfile.ZipFile(wheel(source, folder)) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PLUGIN, tmp_path_factory.mktemp("plugin") / "one")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene that only the example's reader can read."""
    folder = tmp_path_factory.mktemp("scenes") / "puppet_0"
    write_scene(folder, build_scene(0, views=3, size=32))
    document = json.loads((folder / "transforms.json").read_text())
    views = [(frame["file_path"], frame["transform_matrix"]) for frame in document["frames"]]
    kept = {key: document[key] for key in ("prompt", "target_prompt", "focus", "radius") if key in document}
    (folder / "views.json").write_text(json.dumps({"focal": document["fl_x"], "views": views, **kept}))
    (folder / "transforms.json").unlink()
    return folder


def python(*arguments: str, cwd: Path, path: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment_of(path))


def environment_of(path: tuple[Path, ...]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}


def commands(*lines: tuple[str, ...], cwd: Path, path: tuple[Path, ...]) -> list[Told]:
    return run_commands(lines, cwd, environment_of(path))


def check_run(done: subprocess.CompletedProcess[str], output: Path) -> None:
    """A run by all of the example's variants has finished, and has the example's figure."""
    assert done.returncode == 0, done.stderr
    [metrics] = output.glob("outputs/articulation/*/metrics.json")
    assert (metrics.parent / "done").exists()
    figures = json.loads(metrics.read_text())
    assert 0 < figures["redness"] < 1
    assert set(figures["methods"]) == {"halves", "full"}


def test_an_installed_package_adds_a_variant_of_each_kind(site: Path, scene: Path, tmp_path: Path) -> None:
    conf = f"--config-dir={site / 'qnerf_example' / 'conf'}"
    done = python("-m", "qnerf.run", conf, f"scene.path={scene}", *CHOICES, cwd=tmp_path, path=(site, ROOT))
    check_run(done, tmp_path)
    [written] = tmp_path.glob("outputs/articulation/*/config.yaml")
    assert "name: anchored" in written.read_text()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to which each variant's file and config is added, and nothing is changed."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "qnerf", copy / "qnerf", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    (copy / "qnerf" / "assets").symlink_to(ROOT / "qnerf" / "assets")
    shutil.copytree(ROOT / "conf", copy / "conf")
    for name, folder in VARIANTS.items():
        shutil.copy(PLUGIN / "qnerf_example" / f"{name}.py", copy / "qnerf" / folder)
    for path in (PLUGIN / "qnerf_example" / "conf").rglob("*.yaml"):
        shutil.copy(path, copy / "conf" / path.parent.name)
    return copy


def test_so_does_one_file_in_the_package(grown: Path, scene: Path, tmp_path: Path) -> None:
    """It is found, chosen, and checked, its metric is registered, and its reader counts the scene's views."""
    metrics = ("qnerf.metrics",)
    [checked, listed] = commands(("qnerf.validate", f"scene.path={scene}", *CHOICES), metrics, cwd=tmp_path, path=(grown,))
    assert checked[:2] == (0, checked[1]), checked[2]
    assert checked[1].startswith("Valid: 1 run of articulation by halves, full.")
    assert "| `redness` | redness |" in listed[1]


@pytest.mark.slow
def test_and_it_runs(grown: Path, scene: Path, tmp_path: Path) -> None:
    check_run(python("-m", "qnerf.run", f"scene.path={scene}", *CHOICES, cwd=tmp_path, path=(grown,)), tmp_path)


IDENTITIES = """
import json, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from qnerf.common import sources
from qnerf.config import parse
from qnerf.run import CONFIGS
from qnerf.runs.identity import read_inputs
from qnerf.runs.stages import Stages
package, own, plain = Path(sys.argv[1]), json.loads(sys.argv[2]), []

parse_imports, parsed = sources._imports.__wrapped__, {}

def imports(module):  # parsed again only where the source is another
    text = sources._source(module)
    if (module, text) not in parsed:
        parsed[module, text] = parse_imports(module)
    return parsed[module, text]

sources._imports = imports

def identities():
    for function in (sources.code_version, sources._source):
        function.cache_clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        runs = [parse(compose("config", overrides)) for overrides in (own, plain)]
    return [Stages(settings, read_inputs(settings)).identity() for settings in runs]

before, changed = identities(), {}
for file in sorted(package.glob("[a-z]*.py")):
    text = file.read_text()
    file.write_text(text + "MORE = 1\\n")
    changed[file.stem] = [a != b for a, b in zip(before, identities(), strict=True)]
    file.write_text(text)
print(json.dumps(changed))
"""


def test_each_line_of_a_plug_in_counts_in_the_identity_of_the_runs_that_use_it(site: Path, scene: Path, tmp_path: Path) -> None:
    package = site / "qnerf_example"
    own = [f"hydra.searchpath=[file://{package / 'conf'}]", f"scene.path={scene}", *CHOICES]
    done = python("-c", IDENTITIES, str(package), json.dumps(own), cwd=tmp_path, path=(site, ROOT))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [True, False] for name in VARIANTS}


def test_checks_sweeps_and_lists_know_a_plug_ins_configs(site: Path, scene: Path, tmp_path: Path) -> None:
    conf = ("--config-dir", str(site / "qnerf_example" / "conf"))
    arguments = (*conf, f"scene.path={scene}", *CHOICES)
    valid, wrong, dry, listed, forgotten = commands(
        ("qnerf.validate", "-m", *arguments, "editor=anchored,plain"),
        ("qnerf.run", *arguments, "editor=ancored", "editor.wait=1"),
        ("qnerf.run", "-m", *arguments, "editor.weight=.1,.3", "sweep.dry_run=true"),
        ("qnerf.ls", *conf, "editor"),
        ("qnerf.run", "inversion=fixed_point"),
        cwd=tmp_path,
        path=(site, ROOT),
    )
    assert "2 runs of articulation by halves, full" in valid[1], valid[2]
    assert wrong[0] == 2
    assert "there is no editor/ancored.yaml in conf/; nearest valid: anchored" in wrong[2]
    assert dry[0] == 0, dry[2]
    assert len(re.findall(r"\bnew\b", dry[1])) >= 2
    assert re.search(r"^  anchored +Drawn towards the source's clean latents", listed[1], re.MULTILINE)
    assert forgotten[0] == 2
    assert "fixed_point is of an installed package: add --config-dir" in forgotten[2]


def test_two_packages_with_one_name_and_a_broken_one_are_told_in_a_sentence(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "broken").mkdir(parents=True)
    (other / "broken" / "__init__.py").touch()
    (other / "broken" / "wrong.py").write_text("import nowhere_at_all\n")
    project = '[project]\nname = "broken"\nversion = "1.0"\n'
    (other / "pyproject.toml").write_text(f'{project}[project.entry-points."qnerf.editors"]\nwrong = "broken.wrong:X"\n')
    done = python("-m", "qnerf.run", cwd=tmp_path, path=(unpack(other, tmp_path / "a"), ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith("qnerf: entry point 'wrong' of qnerf.editors (broken.wrong:X, installed by broken) cannot be ")
    assert "Traceback" not in done.stderr
    points = '[project.entry-points."qnerf.editors"]\nagain = "broken.again:AnchoredSettings"\n'
    (other / "pyproject.toml").write_text(project + points)
    shutil.copy(PLUGIN / "qnerf_example" / "anchored.py", other / "broken" / "again.py")
    done = python("-m", "qnerf.validate", cwd=tmp_path, path=(site, unpack(other, tmp_path / "b"), ROOT))
    assert done.returncode == 2
    assert "two variants of qnerf.editors are named 'anchored'" in done.stderr
    assert "installed by broken" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worked_examples_of_the_tutorial_are_those_that_run() -> None:
    page = (ROOT / "docs" / "tutorials" / "your_own_method.md").read_text(encoding="utf-8")
    for name in ("fixed_point.py", "anchored.py", "conf/inversion/fixed_point.yaml", "conf/editor/anchored.yaml"):
        assert f"\n{(PLUGIN / 'qnerf_example' / name).read_text(encoding='utf-8').strip()}\n```" in page, name
    shown = re.findall(r'\[project\.entry-points\."(.+)"\]\n(.+)\n', page)
    points = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert len(shown) == 2
    assert all(points[group] == tomllib.loads(line) for group, line in shown)
