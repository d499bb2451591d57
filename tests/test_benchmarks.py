"""The benchmarks at a small size: what they count, not how fast anything is."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import bench_edit, bench_field
from benchmarks.bench_edit import EDIT, in_a_process
from benchmarks.bench_field import PARTS, encodings, measure, whole_step
from benchmarks.field_floor import Card, parts, read_settings
from benchmarks.stopwatch import ELSEWHERE, Stopwatch
from qnerf.fields.graphed import PLAIN_STEPS
from qnerf.fields.settings import EncodingSettings, FieldSettings, SamplingSettings
from qnerf.fields.trunk import Trunk
from qnerf.scenes.procedural import build

SMALL = (
    "schedule=progressive", "steps=4", "schedule.interval=1", "guidance.until=0.75", "metrics=quick", "chunk_size=2",
    "field.optimiser.iterations=3", "rgb_field.optimiser.iterations=3", "field.grid.log2_table_size=10",
)  # fmt: skip


def test_what_one_function_calls_of_another_counts_for_the_inner_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    watch = Stopwatch()

    def takes(seconds: float) -> None:
        now[0] += seconds

    inner, again = watch.timed("inner", lambda: takes(2)), watch.timed("again", lambda: takes(8), within="outer")
    outer = watch.timed("outer", lambda: [takes(1), inner(), takes(4), again()])
    again()  # not within what it is counted in
    outer()
    takes(16)
    watch.turn()
    assert watch.seconds == {"inner": 2, "outer": 5, "again": 8, ELSEWHERE: 8 + 16}


def test_every_part_of_a_fields_step_is_seen_and_put_back() -> None:
    before = Trunk.forward
    seconds, explained = measure(encodings(torch.device("cpu"))[-1], torch.device("cpu"), 40, rays=64, samples=4)
    assert Trunk.forward is before
    assert set(seconds) == {*PARTS, ELSEWHERE}
    assert all(seconds[part] > 0 for part in PARTS)
    assert 0 < explained < 1


def test_a_whole_step_is_timed_as_training_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded where the device can, and without the steps before that."""
    now = [0.0]

    def train(*arguments: Any, on_step: Any, **keywords: Any) -> None:
        assert "recorder_of" not in keywords
        for step in range(1, 41):
            now[0] += 100.0 if step <= PLAIN_STEPS + 1 else 2.0
            on_step(step, 40, 0.0)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(bench_field, "train_query_field", train)
    assert whole_step("torch", torch.device("cpu"), 40, rays=64, samples=4) == 2.0


@pytest.mark.integration
def test_a_model_with_random_weights_runs_by_the_path_of_sd15(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scene, which else another process writes, in this one."""

    def write(command: list[str], **_: Any) -> None:
        assert command[1:3] == ["-m", "qnerf.scenes.procedural.build"]
        monkeypatch.setattr(sys, "argv", command[2:])
        build.main()

    with monkeypatch.context() as patch:
        patch.setattr(bench_edit, "subprocess", SimpleNamespace(run=write, DEVNULL=None))
        found = bench_edit.measure(2, "tiny", [*SMALL, "backbone.channels_last=false", "schedule.feedback=null"])
    bench_edit.show(found)
    table = capsys.readouterr().out
    assert "| field training |" in table
    assert "| feedback |" not in table
    assert found["floor"]["guided steps"] > 0
    assert not found["gpu"] or torch.cuda.is_available()


@pytest.mark.slow
def test_a_run_is_held_against_as_many_bare_passes() -> None:
    found = in_a_process(2, None, [*SMALL])
    assert found["views"] == found["chunk"] == 2
    assert set(EDIT) <= found["seconds"].keys()
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"], rel=0.02)
    assert found["floor"].keys() >= {"guided steps", "plain steps", "inversion"}
    assert not found["floor"].get("field training")
    assert found["edit_over_floor"] > 0.8
    assert 0 < found["field_share"] < 1
    assert found["peak_mib"] > 100


def test_the_floor_of_a_fields_step_by_hand() -> None:
    """3 rays of 2 samples, one level of 1 cell (8 rows of 1 number), layers 1 → 2 → 1 + 3, 5 channels in one resolution."""
    settings = FieldSettings(
        grid=EncodingSettings(levels=1, features_per_level=1, base_resolution=1, finest_resolution=1),
        sampling=SamplingSettings(fine_samples=2, proposal_resolution=2, proposal_every=4),
        hidden_width=2,
        geometry_width=3,
    )
    found = {part.name: (part.operations, part.memory, part.cache) for part in parts(settings, 3, {4: 5})}
    corners = 6 * 8
    assert found == {
        "encoding, forward": (corners * 4, 4 * (6 * 3 + 6 * 1 + 8), corners * 32),
        "base network, forward": (6 * 2 * (1 * 2 + 2 * 4), 4 * 6 * (1 + 2 + 2 + 4), 0),
        "compositing, forward": (6 * 2 * 3, 4 * (6 * 3 + 6 * 3 + 3 * 3), 0),
        "heads and loss": (3 * 2 * 3 * 5 * 3, 4 * 4 * 3 * 5, 0),
        "compositing, backward": (6 * 5 * 3, 4 * 6 * 4 * 3, 0),
        "base network, backward": (2 * 6 * 2 * 10, 4 * 6 * 2 * 9, 0),
        "encoding, backward": (corners * 4, 4 * (6 * 3 + 6 * 1 + 2 * 8), corners * 32),
        "optimiser": (12 * (8 + 4 + 12 + 20), 28 * (8 + 4 + 12 + 20), 0),
        "proposal grid, its share": (16 * 4 + 2 * 20, 4 * (2 * 4 + 2) + 4 * 2 * 9, 16 * 32),
    }


def test_a_part_takes_as_long_as_what_limits_it() -> None:
    part = next(part for part in parts(read_settings("sd15"), 4096, {16: 8}) if part.name == "encoding, forward")
    assert part.milliseconds(Card(l2=1.0)) == part.cache / 1e9
    assert part.milliseconds(Card(bandwidth=1e-6)) == part.memory / 1e3
    assert part.milliseconds(Card(tflops=1e-6)) == part.operations / 1e3
