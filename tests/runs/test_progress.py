import pytest
import torch

from qnerf.errors import UserError
from qnerf.runs.progress import RunProgress, format_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_remaining_time_is_learnt_per_kind_and_guessed_by_weight_before() -> None:
    clock = Clock()
    progress = RunProgress({"unet": 10, "field": 100}, {"unet": 1.0, "field": 0.5}, clock)
    progress.enter("invert")
    for now in (2.0, 4.0):
        clock.now = now
        progress.advance("unet")  # 2 s a unit; a field iteration is guessed to take half of that
    assert progress.remaining() == pytest.approx(8 * 2.0 + 100 * 1.0)
    clock.now = 5.0
    progress.advance("field", 10)  # measured: 0.1 s
    assert progress.remaining() == pytest.approx(8 * 2.0 + 90 * 0.1)
    assert progress.fraction() == pytest.approx(5.0 / (5.0 + 25.0))


def test_what_comes_first_of_a_kind_is_no_measure_of_the_rest() -> None:
    clock = Clock()
    progress = RunProgress({"source field": 1000, "unet": 100}, {"source field": 0.01, "unet": 1.0}, clock)
    progress.enter("the source's radiance field")
    clock.now = 20.0  # kernels are compiled
    progress.advance("source field")
    assert progress.remaining() is None
    assert progress.fraction() == 0.0
    clock.now = 20.01
    progress.advance("source field")
    assert progress.remaining() == pytest.approx(998 * 0.01 + 100 * 1.0)
    clock.now = 25.01  # the first pass, which nothing can be held against yet
    progress.advance("unet")
    assert progress.seconds_per_unit("unet") == pytest.approx(5.0)
    clock.now = 26.01
    progress.advance("unet")
    assert progress.seconds_per_unit("unet") == pytest.approx(1.0)


def test_skipped_work_and_work_beyond_the_plan_leave_a_sane_estimate() -> None:
    clock = Clock()
    progress = RunProgress({"unet": 4}, {}, clock)
    progress.skip("unet", 3)
    clock.now = 1.0
    progress.advance("unet", 5)
    assert progress.remaining() == 0.0
    assert progress.fraction() == 1.0


def test_work_that_turns_up_later_is_planned_from_then_on() -> None:
    """As query fields are, where the posed views turn out not to be trusted."""
    clock = Clock()
    progress = RunProgress({"unet": 4}, {"unet": 1.0, "field": 50.0}, clock)
    with progress.expecting({"unet": 4}):
        for _ in range(2):
            clock.now += 1.0
            progress.advance("unet")
        assert progress.remaining() == pytest.approx(2.0)
        progress.more({"unet": 3, "field": 2})
        assert progress.remaining() == pytest.approx(5.0 + 2 * 50.0)
        for _ in range(2):
            clock.now += 200.0
            progress.advance("field")
        assert progress.remaining() == pytest.approx(5.0)
        progress.advance("unet", 5)
    assert progress.remaining() == 0.0


def test_time_between_stages_belongs_to_no_kind() -> None:
    clock = Clock()
    progress = RunProgress({"unet": 2}, {}, clock)
    clock.now = 100.0
    progress.enter("edit")
    clock.now = 101.0
    progress.advance("unet")
    assert progress.seconds_per_unit("unet") == pytest.approx(1.0)


def test_seconds_as_people_say_them() -> None:
    assert format_seconds(59.4) == "59 s"
    assert format_seconds(85) == "1 min 25 s"
    assert format_seconds(3900) == "1 h 05 min"


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of …"), "20.00 MiB"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes."),
            "8000000000 bytes",
        ),
        (RuntimeError("could not create a primitive"), ""),
        (MemoryError(), ""),
    ],
)
def test_too_little_memory_is_said_in_a_sentence_with_the_stage(error: Exception, asked: str) -> None:
    progress = RunProgress({}, {})
    progress.stage = "inverting the views"
    with pytest.raises(UserError, match="inverting the views: there is too little memory") as caught, progress:
        raise error
    assert asked in str(caught.value)
    assert "chunk_size" in str(caught.value)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"), RunProgress({}, {}):
        raise RuntimeError("shapes do not match")
