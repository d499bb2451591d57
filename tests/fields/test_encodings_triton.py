"""Triton's kernels: run by its interpreter in a process of its own, and compiled for a GPU that need not be there."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("triton")
GRIDS = 60  # four seconds; `TRITON_INTERPRET=1 python -m tests.fields.fuzzed_grids 500` for more


def python(*arguments: str, **environment: str) -> str:
    """Its standard output; TRITON_INTERPRET has to be set before anything imports Triton, and must not reach other tests."""
    plain = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    lines = python("-m", "tests.fields.fuzzed_grids", str(GRIDS), TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    return json.loads(lines.splitlines()[-1])


def test_equals_a_literal_loop_forward_and_backward_on_fuzzed_grids(interpreted: dict[str, Any]) -> None:
    """Of float32 and half tables, on and beside cell faces, at 0 and at 1: encoded, gradients of the table and of positions."""
    assert max(interpreted["errors"]) < 1e-5


def test_a_half_table_has_a_half_gradient_summed_in_float32(interpreted: dict[str, Any]) -> None:
    assert interpreted["half"] < 1e-3


def test_no_points_are_no_error(interpreted: dict[str, Any]) -> None:
    assert interpreted["empty"]


COMPILE = r"""
import re
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from qnerf.fields.encodings import triton_kernels as kernels

KINDS = {"resolutions": "*i32", "offsets": "*i64", "points": "i32", "size": "i32"}
FIXED = {"LEVELS": 16, "FEATURES": 2, "BLOCK": 128}
for kernel in (kernels.forward, kernels.backward_table, kernels.backward_positions):
    names = kernel.arg_names
    kinds = {name: "constexpr" if name in FIXED else KINDS.get(name, "*fp32") for name in names}
    fixed = {(names.index(name),): value for name, value in FIXED.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if kinds[name].startswith("*")}
    made = compile(ASTSource(kernel, kinds, constexprs=fixed, attrs=aligned), target=GPUTarget("cuda", 90, 32))
    print(len(re.findall(r"global\S*\.v2\.", made.asm["ptx"])), made.metadata.shared)
"""


def test_kernels_compile_for_a_gpu_and_move_a_row_as_one_vector() -> None:
    """8 corners and what is encoded, its gradient: 9 vectors of 2 features each; nothing is exchanged through shared memory."""
    assert python("-c", COMPILE).split("\n")[:3] == ["9 0"] * 3
