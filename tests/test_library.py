"""`import qnerf`: light, documented, and what the runner computes, bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from PIL import Image
from safetensors.torch import load_file

import qnerf
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common.files import read_json
from qnerf.errors import UserError
from qnerf.runs import pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from tests.test_run import SMALL


def test_the_import_is_light_and_names_come_when_asked_for() -> None:
    program = (
        "import sys, qnerf; heavy = {'torch', 'hydra', 'omegaconf', 'pydantic', 'numpy', 'diffusers'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "assert set(qnerf.__all__) <= set(dir(qnerf)); "
        "qnerf.Settings; assert 'torch' not in sys.modules and 'pydantic' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(qnerf.__file__).parents[1])


def test_every_name_is_there_and_says_what_it_is() -> None:
    for name in qnerf.__all__:
        documentation = getattr(qnerf, name).__doc__
        assert documentation, name
        assert not documentation.startswith(f"{name}("), f"{name} has only the signature that dataclasses write"
    assert qnerf.__version__
    with pytest.raises(AttributeError, match="no attribute 'edti'"):
        qnerf.edti  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_settings_are_composed_as_on_the_command_line(tmp_path: Path) -> None:
    settings = qnerf.Settings.compose("+exp=compare", "guidance.strength=0.4")
    assert settings.model_dump()["guidance"]["strength"] == 0.4
    assert set(settings.methods()) == {"independent", "one_shot", "hard", "progressive", "posed", "oracle", "full"}
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "mine.yaml").write_text("# @package _global_\nseed: 7\nexperiment: mine\n")
    assert qnerf.Settings.compose("+exp=mine", config_dir=tmp_path).seed == 7
    with pytest.raises(UserError, match="is not a folder"):
        qnerf.Settings.compose(config_dir=tmp_path / "nowhere")


def test_every_error_of_the_settings_is_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        qnerf.Settings.compose("guidance.strenght=0.4", "editor=masactl", "seed=-1", "steps=1")
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    for told in ("nearest valid: guidance.strength", "nearest valid: masactrl", "seed: got -1", "steps: got 1"):
        assert any(told in line for line in lines), (told, lines)
    with pytest.raises(UserError, match="several values need a sweep"):
        qnerf.Settings.compose("seed=1,2")
    with pytest.raises(UserError, match="-m: an option of the command line"):
        qnerf.Settings.compose("-m", "seed=1,2")


@pytest.mark.parametrize("override", ["seed=3", "sed=3"])
def test_hydra_is_left_as_it_was(override: str) -> None:
    def composed() -> None:
        if override.startswith("sed="):
            with pytest.raises(UserError):
                qnerf.Settings.compose(override)
        else:
            assert qnerf.Settings.compose(override).seed == 3

    composed()
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_module("hydra.test_utils.configs", job_name="theirs", version_base="1.2"):
        state = GlobalHydra.instance()
        hydra = state.hydra
        composed()
        assert GlobalHydra.instance() is state
        assert state.hydra is hydra
        assert str(VersionBase.instance().getbase()) == "1.2"
        assert JobRuntime.instance().get("name") == "theirs"
        assert compose("compose") is not None


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "puppet_0"
    write_scene(folder, build_scene(0, views=4, size=32))
    return folder


@pytest.fixture
def overrides(scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: tiny_backbone())
    return (f"scene.path={scene_folder}", f"output_dir={tmp_path}", *SMALL)


@pytest.mark.integration
def test_ten_lines_give_what_the_runner_gives(overrides: tuple[str, ...], tmp_path: Path) -> None:
    methods = "baselines=[independent,oracle]"
    folder = pipeline.run(qnerf.Settings.compose(*overrides, methods), "test")
    document = read_json(folder / "metrics.json")

    settings = qnerf.Settings.compose(*overrides, methods)
    scene = qnerf.load_scene(settings)
    backbone = qnerf.load_backbone(settings)
    inverted = qnerf.invert(settings, scene, backbone)
    edited = qnerf.edit(settings, inverted)
    figures = qnerf.measure(settings, scene, edited)
    edited.save(tmp_path / "mine")

    for method in settings.methods():
        found = edited if method == "full" else qnerf.edit(settings, inverted, method=method)
        kept = load_file(folder / "methods" / f"{method}.safetensors")
        assert torch.equal(found.latents, kept["latents"]), method
        measured = qnerf.measure(settings, scene, found)
        assert measured == {key: value for key, value in document["methods"][method].items() if key != "seconds"}
        assert qnerf.measure(settings, scene, found, as_decoded=True) == document["methods_as_decoded"][method]
    assert figures == {key: document[key] for key in figures}
    assert list(qnerf.reconstruction_psnr(inverted).values()) == document["reconstruction_psnr_by_view"]
    assert qnerf.round_trip_psnr(inverted).items() <= document.items()
    assert edited.images.shape == scene.images.shape
    assert inverted.trajectory.states.shape == (5, *inverted.latents.shape)
    intervals = read_json(folder / "methods" / "full.json")["intervals"]
    assert edited.r2 == {interval["step"]: interval["r2"] for interval in intervals}
    for path in sorted((folder / "edited").glob("*.png")):
        mine = Image.open(tmp_path / "mine" / "edited" / path.name)
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(mine))
    assert (folder / "transforms.json").read_text() == (tmp_path / "mine" / "transforms.json").read_text()


@pytest.mark.integration
def test_an_edit_may_have_other_settings_than_its_inversion_but_no_other_inversion(overrides: tuple[str, ...]) -> None:
    """By the method's own editor too, nothing is left over of what another editor has read of the source branch."""
    settings = qnerf.Settings.compose(*overrides)
    scene, backbone = qnerf.load_scene(settings), qnerf.load_backbone(settings)
    inverted = qnerf.invert(settings, scene, backbone)
    first = qnerf.edit(settings, inverted, "independent")
    later = qnerf.Settings.compose(*overrides, "editor.start_layer=12")
    found = qnerf.edit(later, inverted, "independent")
    assert not torch.equal(found.latents, first.latents)
    assert torch.equal(found.latents, qnerf.edit(later, qnerf.invert(later, scene, backbone), "independent").latents)
    with pytest.raises(UserError, match=r"^control, steps: not as in the settings that the views were inverted with"):
        qnerf.edit(qnerf.Settings.compose(*overrides, "steps=5", "control.detail=bones"), inverted)
    with pytest.raises(UserError, match="'independant' is no method of these settings; nearest valid: independent"):
        qnerf.edit(settings, inverted, "independant")
