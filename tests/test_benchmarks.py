"""The benchmarks at a small size: what they count, not how fast anything is."""

import pytest
import torch

from benchmarks.bench_edit import EDIT, in_a_process, show
from benchmarks.bench_field import PARTS, encodings, measure
from benchmarks.stopwatch import ELSEWHERE, Stopwatch
from qnerf.fields.trunk import Trunk

SMALL = (
    "inversion.steps=4", "schedule.interval=1", "guidance.until=0.75", "metrics=quick", "chunk_size=2",
    "field.optimiser.iterations=3", "field.grid.log2_table_size=10",
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


@pytest.mark.integration
def test_a_model_with_random_weights_runs_by_the_path_of_sd15(capsys: pytest.CaptureFixture[str]) -> None:
    found = in_a_process(2, "tiny", [*SMALL, "backbone.channels_last=false", "schedule.feedback=null"])
    show(found)
    table = capsys.readouterr().out
    assert "| field training |" in table
    assert "| feedback |" not in table
    assert found["floor"]["guided steps"] > 0
    assert not found["gpu"] or torch.cuda.is_available()


@pytest.mark.integration
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
