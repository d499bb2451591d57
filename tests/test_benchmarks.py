"""The benchmark of a whole run, at a small size: what it counts, not how fast it is."""

import pytest

from benchmarks.bench_edit import EDIT, in_a_process

SMALL = (
    "inversion.steps=4", "schedule.interval=1", "guidance.until=0.75", "metrics=quick", "chunk_size=2",
    "field.optimiser.iterations=3", "field.grid.log2_table_size=10",
)  # fmt: skip


@pytest.mark.integration
def test_a_run_is_held_against_as_many_bare_passes() -> None:
    found = in_a_process(2, [*SMALL])
    assert found["views"] == found["chunk"] == 2
    assert set(EDIT) <= found["seconds"].keys()
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"], rel=0.02)
    assert found["floor"].keys() >= {"guided steps", "plain steps", "inversion"}
    assert not found["floor"].get("field training")
    assert found["edit_over_floor"] > 0.8
    assert 0 < found["field_share"] < 1
    assert found["peak_mib"] > 100
