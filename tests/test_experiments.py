"""The scripts of experiments/ on a random backbone."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import initialize_config_dir

from experiments import __main__ as commands
from experiments import studies
from experiments.editors import study as editors
from experiments.editors.cases import make_case
from experiments.features import study as components
from experiments.features import words
from experiments.inversions import cost, null_texts, transformed
from experiments.others import study as others
from experiments.probes import study as probes
from experiments.questions import study as questions
from qnerf.backbones.puppet import PuppetSettings
from qnerf.classifiers.classifiers import load_classifiers
from qnerf.classifiers.labels import NAMES
from qnerf.common.files import write_json
from qnerf.config import RunSettings
from qnerf.consolidation.phases import plain_steps
from qnerf.run import CONFIGS
from qnerf.scenes import on_demand
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.procedural.world import KINDS
from tests.fields.posing.analytic import skeleton
from tests.schedules.helpers import BACKBONE, layers, make_job, tiny_field

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{Path(script).stem}", EXPERIMENTS / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their types up
    spec.loader.exec_module(module)
    return module


def test_every_variant_of_the_field_study_is_a_setting() -> None:
    study = load("field/study.py")
    same = ("8²", "16²", "32²", study.WARM + "optimiser.iterations=400")  # other maps, or another start
    changes = [change for group in study.STUDIES.values() for change in group if change not in same]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = study.settings_of("asset:puppet_a").field
        assert plain.heldout_every == 4
        for change in changes:
            assert study.settings_of("asset:puppet_a", change).field != plain, change


def test_the_field_study_measures_by_resolution() -> None:
    study = load("field/study.py")
    job, _ = make_job()
    chosen = layers(8, 10, 13)
    _, queries = plain_steps(job, job.trajectory.states[0], 0, 3, record_at=(1, 2), layers=chosen)
    recorded = study.Recorded(job, queries[2], queries[1])
    field = tiny_field().model_copy(update={"heldout_every": 2})
    found, seconds = study.explained(recorded, field, "")
    sizes = [study.size_of(job, layer) for layer in chosen]
    assert list(found) == sizes
    assert seconds > 0
    alone, _ = study.explained(recorded, field, sizes[1])
    assert list(alone) == [sizes[1]]
    assert alone[sizes[1]] != pytest.approx(found[sizes[1]])
    warm, _ = study.explained(recorded, field, study.WARM + "optimiser.iterations=2")
    assert warm != found
    assert study.row("x", [({"8²": 0.5}, 2.0), ({"8²": 0.25}, 4.0)], ["8²", "16²"], 1.5) == "| x | 0.375 (0.50, 0.25) | - | 2.00 |"


@pytest.mark.integration
def test_the_field_study_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At four small views and a few steps: a row for the default and for every variant asked for."""
    study = load("field/study.py")
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    small = [
        "scene.size=32",
        "scene.views=4",
        "steps=4",
        "schedule.interval=1",
        "field.heldout_every=2",
        "field.optimiser.rays_per_batch=64",
    ]
    monkeypatch.setattr(study, "BASE", small)
    monkeypatch.setattr(study, "STUDIES", {"few": ["optimiser.iterations=2"], "warm": [study.WARM + "optimiser.iterations=1"]})
    monkeypatch.setattr(study, "STEP", 1)
    monkeypatch.setattr(study, "EARLIER", 0)
    monkeypatch.setattr(sys, "argv", ["study.py", "--scenes", "asset:puppet_a", "--only", "few,warm"])
    study.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in rows] == [
        "field", "the default", "`optimiser.iterations=2`", "`optimiser.iterations=1`, started from the field of step 0",
    ]  # fmt: skip


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
        (tmp_path / "rows.md").write_text("\n".join(kept[:-1]) + "\n")  # as if it were broken off before the last


def test_every_row_of_the_study_of_inversions_is_a_setting() -> None:
    study = load("inversions/study.py")
    found = {name: study.inversion_of(row.inversion) for name, row in study.ROWS.items()}
    assert {inversion.name for inversion in found.values()} == {
        "ddim", "uniform_attention", "null_text", "negative_prompt", "direct", "ddpm",
    }  # fmt: skip
    assert found["ddpm, γ 7.5"].reconstruction_scale == 7.5


def test_the_study_of_inversions_measures_by_row_and_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load("inversions/study.py")
    monkeypatch.setattr(study, "STEPS", 2)
    image = study.Image(BACKBONE, torch.rand(1, 3, 32, 32), {"caption": "a figure", "empty": "", "wrong": "a lamp"})
    figures, rebuilt = image.measure(study.ROWS["direct, γ 7.5"])
    assert figures["psnr"] > 80, "the source comes back"
    torch.testing.assert_close(rebuilt, image.round_trip[0], rtol=0, atol=1e-3)
    null_text, _ = image.measure(
        study.Row("null_text inversion.inner_steps=2 inversion.early_stop=0 inversion.early_stop_growth=0")
    )
    assert null_text["inner_steps"] == "2 2"
    path = tmp_path / "results.csv"
    rows = ["row,image,psnr,ssim,mse,inner_steps", '"ddim, γ 1",0,20,0.5,0.01,', '"ddim, γ 1",1,30,0.7,0.001,']
    path.write_text("\n".join([*rows, '"null-text, γ 7.5",0,25,0.6,0.003,1 4 4']))
    lines = study.table(path).splitlines()
    assert lines[2] == "| ddim, γ 1 | 2 | 25.00 ± 7.1 | 0.6000 | 5.50 |"
    assert lines[-1] == "Null-text: 3.00 forward and backward passes a step (1: 33%, 4: 67%)."


@pytest.mark.parametrize("number", [0, 3])
def test_the_true_edit_differs_where_it_says_and_the_prompts_say_it(number: int) -> None:
    """A change of colour is one word and one part; a change of kind leaves the surroundings as they were."""
    case = make_case(number, 64)
    assert case.change == ("colour" if number == 0 else "kind")
    assert 0.01 < case.region.float().mean() < 0.7
    torch.testing.assert_close(case.image[:, ~case.region], case.truth[:, ~case.region], rtol=0, atol=0.021)
    words = [set(prompt.split()) for prompt in (case.source, case.target)]
    if case.change == "colour":
        assert case.part is not None
        assert case.name is not None
        assert len(words[1] - words[0] - {"a", "an"}) == 1
        assert NAMES[case.name] in words[1] - words[0]
    else:
        assert KINDS[case.kind] == "seat"
        assert not words[0] & {"floor", "background", "wall"}


def test_every_row_of_the_study_of_editors_is_a_setting_and_each_study_reads_rows_there_are() -> None:
    for row in {(row.editor, row.inversion): row for row in editors.ROWS.values()}.values():  # of each a scale
        settings = RunSettings.compose("+exp=edit_image", "image=a.png", "prompt=a", "target=b", *row.overrides)
        assert settings.editor.guidance_scale == row.scale
    for study in studies.STUDIES.values():
        assert set(study.rows) <= set(study.script.ROWS)
        for claim in study.claims:
            assert {claim.better, claim.worse} <= set(study.rows)


def test_the_study_of_editors_edits_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a random model: the figures of the truth itself are perfect."""
    monkeypatch.setattr(editors, "STEPS", 2)
    measured = editors.Measured(make_case(0, 32), tmp_path, load_classifiers())
    image, seconds = measured.edit(editors.ROWS["fpe, γ 3.5"], 32, BACKBONE)
    assert image.shape == (3, 32, 32)
    assert seconds > 0
    figures = measured.figures(measured.case.truth, 1.0)
    assert figures["psnr_edit"] == figures["psnr_background"] == 100
    assert measured.figures(image, 1.0)["psnr_background"] < 100


def test_transformed_images_and_the_cosines_of_their_trajectories() -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:8] = 1
    torch.testing.assert_close(transformed.moved(across=1 / 4)(image)[..., 8:12], torch.ones(1, 3, 16, 4))
    assert transformed.moved(turn=90)(image)[0, 0].sum(dim=0).max() == pytest.approx(4, abs=0.01), "it lies"
    torch.testing.assert_close(transformed.moved(scale=2)(image)[0, 0, 0].sum(), torch.tensor(8.0), rtol=0, atol=0.6)
    assert transformed.tinted(0.5, 1, 2)(torch.full((1, 3, 1, 1), 0.6)).flatten().tolist() == pytest.approx([0.3, 0.6, 1])
    first = torch.zeros(5, 1, 1, 1, 2)
    first[..., 0] = 1
    second = first.flip(-1)
    second[4] = first[4]
    found = transformed.cosines(first, second)
    assert (found["noisiest"], found["last quarter"], found["clean"]) == pytest.approx((0, 0, 1))


def test_probes_learn_what_maps_tell_and_nothing_from_shuffled_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps whose first places tell the class by a sign of their product, which no linear classifier would find."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (300, 2), generator=generator) * 2 - 1
    maps = torch.cat([signs + 0.1 * torch.randn(300, 2, generator=generator), torch.randn(300, 6, generator=generator)], dim=1)
    train, heldout = (
        {"kind": (each[:, 0] * each[:, 1] > 0).long(), "colour": torch.zeros(len(each), dtype=torch.long), "self 0": x}
        for each, x in ((signs[:200], maps[:200]), (signs[200:], maps[200:]))
    )
    known: dict[tuple, torch.Tensor] = {}
    learnt = probes.right(train, heldout, probes.Row("self", 0), "kind", known).float().mean()
    by_chance = probes.right(train, heldout, probes.Row("self", 0, shuffled=True), "kind", known).float().mean()
    assert learnt > 0.9
    assert by_chance < 0.7
    assert len(known) == 2
    train["self 1"], heldout["self 1"] = torch.randn(200, 8, generator=generator), torch.randn(100, 8, generator=generator)
    with monkeypatch.context() as two_layers:
        two_layers.setattr(probes, "LAYERS", (1, 0))
        chosen = probes.right(train, heldout, probes.Row("self"), "kind", known)
    assert chosen.equal(probes.right(train, heldout, probes.Row("self", 0), "kind", known)), "the layer that tells it"


SIDES: tuple[tuple[probes.Side, int], ...] = (("train", 0), ("train", 1), ("heldout", 0))


def test_the_study_of_probes_keeps_maps_and_measures_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(probes, "sample", lambda side, number: small[side, number])
    monkeypatch.setattr(probes, "ITERATIONS", 1)
    small: dict[tuple[probes.Side, int], probes.LabelledView] = {
        (side, number): probes.label_sample(probes.SEEDS[side] * probes.SEED_STRIDE + number, 32, "seat", 2, side == "heldout")
        for side, number in SIDES
    }
    view = small["heldout", 0]
    assert list(probes.COLOURS)[probes.main_colour(view)] in view.caption.split()
    maps = probes.maps_of(BACKBONE, view, 0)
    assert maps["self 12"].shape == (16**2,)
    torch.testing.assert_close(maps["self 12"].float().view(16, 16).sum(dim=1), torch.ones(16), rtol=0, atol=1e-2)
    wanted = ("cross, layer 3", "self, layer 12")
    probes.measure_all(tmp_path, 1, lambda row: row in wanted)
    assert {(each["row"], each["image"]) for each in probes.read(tmp_path / probes.RESULTS)} == {(row, "0") for row in wanted}
    monkeypatch.setattr(probes, "maps_of", None)
    probes.measure_all(tmp_path, 1, lambda row: row == "self, layer 9")
    assert len(probes.table(tmp_path / probes.RESULTS).splitlines()) == 2 + 3 + 2
    assert probes.sheet(tmp_path, ["cross, layer 3"]).ndim == 3


def test_principal_axes_of_views_and_how_alike_they_are() -> None:
    x = torch.zeros(2, 2, 4, 6)
    x[..., :3] = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    x[1, ..., 3] = 1e-3 * torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    found = components.figures_of(x, None)
    assert found == pytest.approx({"variance": 1, "joint": 1, "others": 1}, abs=1e-4)
    assert components.figures_of(x, x.flip(-1))["joint"] == pytest.approx(0, abs=1e-2), "the others of six axes"


def test_features_of_views_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {number: components.ring_views(number, 32, 2, ("joints",), "lamp", 2) for number in range(2)}
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(components, "VIEWS", 2)
    monkeypatch.setattr(components, "ring_views", lambda seed, *others: small[seed - components.FIRST_SEED])
    components.measure_all(tmp_path, 1, lambda row: "layer 12, step 0.5" in row)
    found = components.read(tmp_path / components.RESULTS)
    assert len(found) == 6
    assert all(0 < float(each["others"]) <= 1.0001 for each in found)
    assert components.sheet(tmp_path, [], 1).ndim == 3


def test_how_well_a_map_tells_where_a_word_is() -> None:
    inside = torch.zeros(4, 8, dtype=torch.bool)
    inside[1:3, 4:6] = True
    assert words.auc(inside.double(), inside) == 1
    assert words.auc(torch.ones(4, 8), inside) == 0.5
    assert words.auc(-inside.double(), inside) == 0
    torch.testing.assert_close(words.centroid(inside.double()), torch.tensor([5 / 8, 2 / 8]).double())
    right, wrong = inside.double(), inside.double().roll(-4, dims=1)
    maps, places = {"red": right, "blue": wrong}, {"red": inside, "blue": inside.roll(-4, dims=1)}
    assert words.figures_of(maps, places, other=False) == pytest.approx({"auc": 1, "centroid": 0, "size": 0}, abs=0.01)
    other = words.figures_of(maps, places, other=True)
    assert other["centroid"] == pytest.approx(0.5, abs=0.01)
    assert other["auc"] < 0.5


def test_maps_of_words_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = words.heldout_views(930, 1, 1, 32, 2, ("joints",))
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(words, "heldout_views", lambda *others: view)
    words.measure_all(tmp_path, 1, lambda row: True)
    assert {each["row"] for each in words.read(tmp_path / words.RESULTS)} == set(words.ROWS)
    assert words.sheet(tmp_path, [], 1).ndim == 3


def test_null_embeddings_carried_are_those_of_the_middle_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(null_texts, "STEPS", 2)
    monkeypatch.setattr(null_texts, "INNER_STEPS", 1)
    scene = null_texts.Scene(BACKBONE, torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), ["a figure"] * 3)
    found = {row: scene.measure(row)[0] for row in null_texts.ROWS}
    assert found[null_texts.NOT][0]["drift_last"] == 0
    assert found[null_texts.OWN][1] == pytest.approx(found[null_texts.CARRIED][1]), "the middle view's own"
    assert found[null_texts.OWN][0]["drift_last"] != found[null_texts.CARRIED][0]["drift_last"] > 0
    assert len({view["drift_last"] for view in found[null_texts.SHARED]}) == 1


def test_what_a_pass_takes() -> None:
    assert cost.peak_of(lambda: [torch.zeros(2**18) for _ in range(3)]) == pytest.approx(3, abs=0.01)
    assert 1 <= cost.peak_of(lambda: [torch.zeros(2**18).sum() for _ in range(3)]) < 2, "freed at once"
    for make in cost.ROWS.values():
        assert cost.run_pass(BACKBONE, make, 0) > 0


def test_a_verdict_is_of_the_images_that_have_both_rows() -> None:
    claim = studies.Claim("a beats b by 1", "-", "psnr", "a", "b", 1.0)

    def found(*values: tuple[str, int, float]) -> list[dict[str, str]]:
        return [{"row": row, "image": str(image), "psnr": str(value)} for row, image, value in values]

    few = studies.judge(claim, found(("a", 0, 25), ("b", 0, 23), ("a", 1, 30)))
    assert (few.ours, few.images, few.in_words) == ("25.00 against 23.00", 1, "holds, so far")
    assert studies.judge(claim, found(("a", 0, 25))).in_words == "not measured"
    even = [("a", image, 20.0 + (image % 2) * 4) for image in range(8)] + [("b", image, 20.5) for image in range(8)]
    assert studies.judge(claim, found(*even)).in_words == "does not hold", "the difference is within its error"
    clear = [("a", image, 22.0 + image) for image in range(8)] + [("b", image, 20.0 + image) for image in range(8)]
    assert studies.judge(claim, found(*clear)).in_words == "holds"


def test_studies_are_run_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is measured already is not measured again; a report has claims, verdicts and pictures."""
    folder = tmp_path / "inversions"
    (folder / "pictures").mkdir(parents=True)
    rows = [f'"{row}",0,{30 - place},0.9,0.001,' for place, row in enumerate(studies.STUDIES["U2"].rows)]
    (folder / "results.csv").write_text("\n".join(["row,image,psnr,ssim,mse,inner_steps", *rows]))
    for row in ("autoencoder", *studies.STUDIES["U2"].rows):
        write_image(studies.inversions.picture(folder, row, 0), torch.rand(3, 32, 32).numpy())
    monkeypatch.setattr(studies.inversions.Image, "measure", None)
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path)]) == 0
    told = (folder / "U2.md").read_text()
    assert "| uniform maps beat a wrong prompt at γ 7.5 by 1 dB | by figures | 30.00 against 28.00 | 1 | holds, so far |" in told
    assert "| ddim, wrong prompt, γ 1 | 1 | 29.00 | 0.9000 | 1.00 |" in told
    assert (folder / "U2.png").exists()
    assert commands.main(["run", "U9"]) == 2
    assert "'U9' is not built; nearest valid: U" in capsys.readouterr().err
    assert commands.main(["list"]) == 0
    assert "J28" in capsys.readouterr().out


def test_the_open_questions_rows_are_runs_and_their_figures_are_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (questions.ONE_SHOT, "soft, interval 10, step 0.01", "views 64", "layers fine", "inversion direct"):
        settings = RunSettings.compose(*questions.BASE, *questions.ROWS[name], "scene.path=procedural:toy_101")
        assert (settings.schedule.name == "progressive") == (name != questions.ONE_SHOT)
    done = []

    def run(settings: RunSettings, command: str) -> Path:
        done.append(settings)
        folder = tmp_path / "runs" / str(len(done))
        floor = {"warp_error_moved_floor": 0.02, "heldout_psnr": 20.0, "psnr_moved": 15.0, "silhouette_iou": 0.8}
        methods = {
            "independent": {**floor, "warp_error_moved": 0.1, "psnr_object": 20.0},
            "full": {**floor, "warp_error_moved": 0.06 / len(done) + 0.02, "psnr_object": 21.5, "seconds": 3.0},
        }
        (folder / "methods").mkdir(parents=True)
        write_json(folder / "metrics.json", {"methods": methods})
        write_json(folder / "methods" / "full.json", {"intervals": [{"r2": {"a": 0.2, "b": 0.4}}, {"r2": {"a": 0.6, "b": 0.6}}]})
        (folder / "edited").mkdir()
        write_image(folder / "edited" / "000.png", torch.rand(3, 32, 32).numpy())
        return folder

    monkeypatch.setattr(questions, "run", run)
    assert commands.main(["run", "Q5", "--images", "1", "--output", str(tmp_path)]) == 0
    told = (tmp_path / "questions" / "Q5.md").read_text()
    assert f"| {questions.DEFAULT} | 1 | 25 | 1.50 | 0.00 | 0.000 | 0.00 | 0.30 | 0.60 | 3 |" in told
    assert "| progressive agrees better | open | 25.00 against 62.50 | 1 | does not hold, so far |" in told
    assert commands.main(["run", "Q6", "--images", "1", "--output", str(tmp_path)]) == 0
    assert len(done) == 2 + len(questions.RECORDERS), "what Q5 has measured is not measured again"
    assert done[0].scene.path == "procedural:figure_101"


def test_the_study_of_other_edits_has_a_run_for_each_row_and_measures_the_bystander(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(on_demand, "VIEWS", 3)
    monkeypatch.setattr(others, "VIEWS", 3)
    small = partial(build_scene, size=32)
    monkeypatch.setattr("qnerf.scenes.procedural.build.build_scene", small)
    done: list[RunSettings] = []

    def run(settings: RunSettings, command: str) -> Path:
        """As if a run gave the true edit, but for the bystander, which is black in it."""
        done.append(settings)
        folder = tmp_path / "runs" / str(len(done))
        truth = small(int(others.scene(3).split("_")[1]), 3, kind="pair", world=2).truth
        assert truth is not None
        seen = others.bystanders_seen("pair_101", 32)
        assert seen.any()
        (folder / "edited").mkdir(parents=True)
        for index in range(3):
            write_image(folder / "edited" / f"{index:03d}.png", (truth.edited_images[index] * ~seen[index]).numpy())
        write_json(folder / "metrics.json", {"methods": {"full": {"psnr_object": 20.0 + len(done)}}})
        return folder

    monkeypatch.setattr(others, "run", run)
    others.measure_all(tmp_path, 4, lambda row: row.startswith("pair"))
    assert [settings.schedule.name for settings in done] == ["independent", "transport", "progressive", "posed"]
    assert all(not settings.baselines and settings.scene.path == "procedural:pair_101" for settings in done)
    others.measure_all(tmp_path, 4, lambda row: row.startswith("pair"))
    assert len(done) == len(others.METHODS), "what is measured is not measured again"
    rows = {each["row"]: each for each in others.read(tmp_path / others.RESULTS)}
    assert rows["pair, full"]["psnr_object"] == 22.0
    assert 0 < rows["pair, full"]["bystander"] < 20
    assert others.sheet(tmp_path, tuple(others.ROWS)).ndim == 3
    told = studies.report(studies.STUDIES["others"], tmp_path)
    assert "| pair: the default is nearer than the independent edit | open | 22.00 against 21.00 | 1 | holds, so far |" in told


@pytest.mark.slow
@pytest.mark.integration
def test_the_study_of_other_edits_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another colour, at four small views and a few steps: the default's output is not the source's own pixels."""
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    small = ("scene.size=32", "scene.views=4", "steps=4", "source_field.optimiser.iterations=20", "posing.voxels=16",
             "source_field.optimiser.rays_per_batch=128", "posing.samples=16", "field.optimiser.iterations=2",
             "field.optimiser.rays_per_batch=64", "schedule.interval=1")  # fmt: skip
    monkeypatch.setattr(others, "BASE", (*others.BASE, "backbone.dtype=float32", *small))
    monkeypatch.setattr(others, "bystanders_seen", lambda name, size: torch.zeros(16, size, size, dtype=torch.bool))
    others.measure_all(tmp_path, 1, lambda row: row == "recoloured, full")
    (found,) = others.read(tmp_path / others.RESULTS)
    edited = read_image(others.pictures(Path(found["folder"]))[0])
    source = read_image(min(on_demand.ensure_written("procedural:recoloured_101").glob("images/*.png")))
    assert abs(edited - source.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))).max() > 25
