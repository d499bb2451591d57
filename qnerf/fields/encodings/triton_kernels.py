# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""The hash grid's kernels in Triton. Where TRITON_INTERPRET=1 is set before the import they run on a CPU, slowly.

A program does a block of points at one level. Blocks are the fastest axis of the launch, so that the programs of
one level run together and its part of the table, and of the table's gradient, stays in the L2 cache (4 MiB at
2^19 rows of two float32 numbers). The features of a row are neighbours in a tile, so they are loaded, stored and
added as one vector. Offsets inside a level fit into 32 bits (at most 2^24 rows of 8 numbers); those of levels and
points and the counts of corners are 64 bits wide.

A corner's row is x + y side + z side² in a dense level, and x ^ y p ^ z q in a hashed one, modulo the table's
size: the three terms are computed once per axis.
"""

import triton
import triton.language as tl

from qnerf.fields.encodings.layout import PRIMES

PRIME_Y = tl.constexpr(PRIMES[1])
PRIME_Z = tl.constexpr(PRIMES[2])


@triton.jit
def row_factors(cells, size):
    """Whether a level is dense, and the factors of y and z in its rows."""
    side = cells.to(tl.int64) + 1
    dense = side * side * side <= size
    narrow = side.to(tl.uint32)
    return dense, tl.where(dense, narrow, PRIME_Y), tl.where(dense, narrow * narrow, PRIME_Z)


@triton.jit
def axis_terms(coordinates, inside, cells, factor):
    """Of one axis: the terms of the lower and the upper corner, and the fraction; the far face belongs to the last cell."""
    scaled = tl.load(coordinates, mask=inside, other=0.0) * cells.to(tl.float32)
    lower = tl.minimum(tl.maximum(tl.floor(scaled).to(tl.int32), 0), cells - 1)
    term = lower.to(tl.uint32) * factor
    return term, term + factor, scaled - lower.to(tl.float32)


@triton.jit(do_not_specialize=["points"])
def forward(
    positions, table, resolutions, offsets, encoded, points, size, LEVELS: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr
):
    """positions (P, 3), table (rows, FEATURES) to encoded (P, LEVELS, FEATURES), float32."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    level = tl.program_id(1)
    inside, feature = point < points, tl.arange(0, FEATURES)[None, :]
    cells, within = tl.load(resolutions + level), inside[:, None]
    dense, by_y, by_z = row_factors(cells, size)
    x0, x1, fx = axis_terms(positions + point * 3, inside, cells, 1)
    y0, y1, fy = axis_terms(positions + point * 3 + 1, inside, cells, by_y)
    z0, z1, fz = axis_terms(positions + point * 3 + 2, inside, cells, by_z)
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    start, last = table + tl.load(offsets + level) * FEATURES, (size - 1).to(tl.uint32)
    total = tl.zeros([BLOCK, FEATURES], dtype=tl.float32)
    for corner in tl.static_range(8):
        x, y, z = (x1 if corner & 1 else x0), (y1 if corner & 2 else y0), (z1 if corner & 4 else z0)
        row = tl.where(dense, x + y + z, (x ^ y ^ z) & last).to(tl.int32)
        weight = (fx if corner & 1 else gx) * (fy if corner & 2 else gy) * (fz if corner & 4 else gz)
        values = tl.load(start + (row[:, None] * FEATURES + feature), mask=within, other=0.0)
        total += weight[:, None] * values.to(tl.float32)
    tl.store(encoded + ((point * LEVELS + level)[:, None] * FEATURES + feature), total, mask=within)


@triton.jit(do_not_specialize=["points"])
def backward_table(
    positions,
    gradient,
    resolutions,
    offsets,
    table_grad,
    points,
    size,
    LEVELS: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """gradient (P, LEVELS, FEATURES) added to table_grad (rows, FEATURES), float32; in no fixed order."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    level = tl.program_id(1)
    inside, feature = point < points, tl.arange(0, FEATURES)[None, :]
    cells, within = tl.load(resolutions + level), inside[:, None]
    dense, by_y, by_z = row_factors(cells, size)
    x0, x1, fx = axis_terms(positions + point * 3, inside, cells, 1)
    y0, y1, fy = axis_terms(positions + point * 3 + 1, inside, cells, by_y)
    z0, z1, fz = axis_terms(positions + point * 3 + 2, inside, cells, by_z)
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    start, last = table_grad + tl.load(offsets + level) * FEATURES, (size - 1).to(tl.uint32)
    wanted = tl.load(gradient + ((point * LEVELS + level)[:, None] * FEATURES + feature), mask=within, other=0.0)
    for corner in tl.static_range(8):
        x, y, z = (x1 if corner & 1 else x0), (y1 if corner & 2 else y0), (z1 if corner & 4 else z0)
        row = tl.where(dense, x + y + z, (x ^ y ^ z) & last).to(tl.int32)
        weight = (fx if corner & 1 else gx) * (fy if corner & 2 else gy) * (fz if corner & 4 else gz)
        tl.atomic_add(start + (row[:, None] * FEATURES + feature), weight[:, None] * wanted, mask=within, sem="relaxed")


@triton.jit(do_not_specialize=["points"])
def backward_positions(
    positions,
    table,
    gradient,
    resolutions,
    offsets,
    position_grad,
    points,
    size,
    LEVELS: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient (P, 3) of positions: a program sums a block of points over the levels, without atomics."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside, feature = point < points, tl.arange(0, FEATURES)[None, :]
    within, last = inside[:, None], (size - 1).to(tl.uint32)
    on_x = tl.zeros([BLOCK], dtype=tl.float32)
    on_y = tl.zeros([BLOCK], dtype=tl.float32)
    on_z = tl.zeros([BLOCK], dtype=tl.float32)
    for level in range(LEVELS):
        cells = tl.load(resolutions + level)
        dense, by_y, by_z = row_factors(cells, size)
        x0, x1, fx = axis_terms(positions + point * 3, inside, cells, 1)
        y0, y1, fy = axis_terms(positions + point * 3 + 1, inside, cells, by_y)
        z0, z1, fz = axis_terms(positions + point * 3 + 2, inside, cells, by_z)
        gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
        start = table + tl.load(offsets + level) * FEATURES
        wanted = tl.load(gradient + ((point * LEVELS + level)[:, None] * FEATURES + feature), mask=within, other=0.0)
        wanted *= cells.to(tl.float32)
        for corner in tl.static_range(8):
            x, y, z = (x1 if corner & 1 else x0), (y1 if corner & 2 else y0), (z1 if corner & 4 else z0)
            row = tl.where(dense, x + y + z, (x ^ y ^ z) & last).to(tl.int32)
            values = tl.load(start + (row[:, None] * FEATURES + feature), mask=within, other=0.0)
            value = tl.sum(values.to(tl.float32) * wanted, axis=1)
            wx, wy, wz = (fx if corner & 1 else gx), (fy if corner & 2 else gy), (fz if corner & 4 else gz)
            on_x += (value if corner & 1 else -value) * (wy * wz)
            on_y += (value if corner & 2 else -value) * (wx * wz)
            on_z += (value if corner & 4 else -value) * (wx * wy)
    tl.store(position_grad + point * 3, on_x, mask=inside)
    tl.store(position_grad + point * 3 + 1, on_y, mask=inside)
    tl.store(position_grad + point * 3 + 2, on_z, mask=inside)
