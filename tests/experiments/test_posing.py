"""The study of the posed source under wrong proxies."""

import sys
from pathlib import Path

import pytest
import torch

from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.reader import read_scene
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.experiments.scripts import load
from tests.fields.posing.analytic import skeleton


def test_the_study_of_posing_makes_a_proxy_as_wrong_as_it_says() -> None:
    study = load("field/posing.py")
    joints = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.3], [0.35, 0.0, 0.3], [0.35, 0.0, -0.3]]
    proxy = skeleton(joints, [*joints[:3], [0.95, 0.0, 0.3]], ((0, 1), (1, 2), (2, 3)))
    found = dict(study.errors(proxy, ["joints", "states"], 2))
    assert found["none"] == [proxy]
    assert len(found["states 10 %"]) == 2
    for name, share in (("joints 5 %", 0.05), ("states 10 %", 0.1)):
        away = (found[name][0].source - proxy.source).norm(dim=-1)
        torch.testing.assert_close(away, torch.full((4,), share * study.extent(proxy)))
    for wrong in found["joints 5 %"]:
        torch.testing.assert_close(wrong.source[:3], wrong.target[:3])
        before, after = wrong.source[3] - proxy.source[3], wrong.target[3] - proxy.target[3]
        turned = torch.stack([-before[2], before[1], before[0]])  # the arm turns from -z to x
        torch.testing.assert_close(after, turned, atol=1e-5, rtol=0)
    assert study.rank(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([9.0, 4.0, 1.0])) == pytest.approx(-1)
    arm = study.parts_of(proxy, study.PosingSettings(), torch.device("cpu"))[2]
    wrong = study.twisted(arm, 30.0)
    torch.testing.assert_close(wrong.motion.back(proxy.target[2:]), proxy.source[2:])  # its joints stay
    twist = wrong.motion.rotation @ arm.motion.rotation.T  # of the source's arm, about z
    torch.testing.assert_close(twist[2, 2], torch.tensor(1.0))
    assert twist[0, 0] == pytest.approx(3**0.5 / 2, abs=1e-5)


def test_wrong_bounds_are_larger_than_those_round_the_bones_and_the_field_is_trained_on_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, trained = load("field/posing.py"), []
    settings = study.settings_of("asset:puppet_a", [])

    def train(scene: Scene, _: object) -> object:
        trained.append(scene.proxy)
        return object()

    monkeypatch.setattr(study, "trained", train)
    monkeypatch.setattr(study, "posed_figures", lambda *_: [0.0])
    rows = [row[1] for row in study.wrong_proxies(settings, ["joints", "bounds"], 1, 1, set())]
    assert rows[-2:] == ["bounds +50 %", "bounds +100 %"]
    right, half, double = ([solid.radius for solid in proxy_bounds(proxy, "source").solids] for proxy in trained)
    assert len(trained) == 3, "once for all wrong joints"
    assert half == pytest.approx([1.5 * radius for radius in right])
    assert double == pytest.approx([2 * radius for radius in right])


def test_scenes_with_wrong_proxies_keep_their_truth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = load("field/posing.py")
    arguments = ["--scenes", "asset:puppet_a", "--only", "joints", "--seeds", "2", "--write", str(tmp_path / "wrong")]
    monkeypatch.setattr(sys, "argv", ["posing.py", *arguments])
    study.main()
    names = [f"puppet_a-joints-{share}-{seed}" for share in (2, 5, 10) for seed in (0, 1)]
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == ["puppet_a-none-0", *names]
    assert study.main() == 2
    assert "puppet_a-none-0 exists already, expected a new folder" in capsys.readouterr().err
    right, far = (read_scene(SceneSettings(path=str(tmp_path / "wrong" / name))) for name in ("puppet_a-none-0", names[-1]))
    assert right.proxy and far.proxy and right.truth and far.truth  # noqa: PT018
    away = (far.proxy.source - right.proxy.source).norm(dim=-1)
    torch.testing.assert_close(away, torch.full_like(away, 0.1 * extent(right.proxy)), rtol=1e-4, atol=0)
    assert torch.equal(right.truth.edited_images, far.truth.edited_images)


def test_arguments_that_the_study_of_posing_cannot_use_are_told_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = load("field/posing.py")

    def told(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["posing.py", *words])
        assert study.main() == 2
        return capsys.readouterr().err

    found = told("--only", "joints, bogus", "--seeds", "0", "--views", "0")
    assert all(word in found for word in ("--only: got 'bogus'", "--seeds: got 0", "--views: got 0"))
    assert "got 'twist' with --write" in told("--only", "twist", "--write", str(tmp_path / "new"))
    assert "nosuch" in told("--scenes", "asset:nosuch", "--only", "joints")
    assert "bogus.key" in told("--only", "none", "bogus.key=1")
    assert str(tmp_path) in told("--into", str(tmp_path), "--only", "none")


@pytest.mark.integration
@pytest.mark.slow
def test_the_study_of_posing_runs_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = load("field/posing.py")
    monkeypatch.setattr(study, "FIELDS", {"views": (6,), "quality": (0.5,)})
    small = ["scene.size=32", "scene.views=4", "source_field.optimiser.iterations=20", "source_field.optimiser.rays_per_batch=128"]
    coarse = ["posing.voxels=16", "posing.samples=16"]
    arguments = ["--scenes", "asset:puppet_a", "--only", "views,quality,joints", "--seeds", "1", "--views", "2"]
    monkeypatch.setattr(sys, "argv", ["posing.py", *arguments, "--into", str(tmp_path / "rows.md"), *small, *coarse])
    for again in (False, True):
        study.main()
        rows = [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| puppet_a")]
        assert rows == (
            ["joints 10 %"] if again else ["6 views", "0.5 of the steps", "none", "joints 2 %", "joints 5 %", "joints 10 %"]
        )
        kept = (tmp_path / "rows.md").read_text().splitlines()
        # as if it were broken off before the last
        (tmp_path / "rows.md").write_text("\n".join(kept[:-1]) + "\n")
