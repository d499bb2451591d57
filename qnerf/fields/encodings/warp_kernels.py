# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportAssignmentType=false
"""The hash grid's kernels in warp: compiled once per number of features, cached on disk by warp, for CPU and CUDA.

Launched over (levels, points) with points fastest: one level's table stays in the processor's cache while all points read it.
On the CPU one launch runs on one thread, so its sums have one order: the gradients are bit-equal from run to run.
"""

# Annotations must stay objects: warp reads the kernels' argument types from them.

from functools import cache
from typing import Any

import warp as wp

from qnerf.fields.encodings.layout import PRIMES

wp.config.log_level = wp.LOG_ERROR
wp.init()

PRIME_Y = wp.constant(wp.uint32(PRIMES[1]))
PRIME_Z = wp.constant(wp.uint32(PRIMES[2]))


@wp.func
def corner_row(x: wp.int32, y: wp.int32, z: wp.int32, cells: wp.int32, size: wp.int32):
    """Row of a corner inside its level: dense where the level fits into the table, else hashed. Corners are counted in 64 bits:
    from 1,290 cells an axis on they exceed 32."""
    side = cells + 1
    if wp.int64(side) * wp.int64(side) * wp.int64(side) <= wp.int64(size):
        return x + y * side + z * side * side
    hashed = wp.uint32(x) ^ (wp.uint32(y) * PRIME_Y) ^ (wp.uint32(z) * PRIME_Z)
    return wp.int32(hashed & wp.uint32(size - 1))


@wp.func
def lower_corner(scaled: wp.vec3, cells: wp.int32):
    """The cell that holds a scaled position; the cube's far faces belong to the last cell."""
    x = wp.clamp(wp.int32(wp.floor(scaled[0])), 0, cells - 1)
    y = wp.clamp(wp.int32(wp.floor(scaled[1])), 0, cells - 1)
    z = wp.clamp(wp.int32(wp.floor(scaled[2])), 0, cells - 1)
    return wp.vec3i(x, y, z)


@cache
def kernels(features: int) -> tuple[Any, Any, Any]:
    """(forward, backward to the table, backward to the positions) for this many features per level."""
    return _forward(features), _backward_table(features), _backward_positions(features)


def _forward(features: int) -> Any:
    vector = wp.types.vector(length=features, dtype=wp.float32)

    @wp.kernel(enable_backward=False, module="unique")
    def forward(
        positions: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=vector),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        first: wp.int32,
        stride: wp.int32,
        size: wp.int32,
        encoded: wp.array(dtype=vector, ndim=2),
    ):
        turn, point = wp.tid()
        level = first + turn * stride
        cells = resolutions[level]
        start = offsets[level]
        scaled = positions[point] * wp.float32(cells)
        c = lower_corner(scaled, cells)
        fx, fy, fz = scaled[0] - wp.float32(c[0]), scaled[1] - wp.float32(c[1]), scaled[2] - wp.float32(c[2])
        gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
        total = table[start + corner_row(c[0], c[1], c[2], cells, size)] * (gx * gy * gz)
        total += table[start + corner_row(c[0] + 1, c[1], c[2], cells, size)] * (fx * gy * gz)
        total += table[start + corner_row(c[0], c[1] + 1, c[2], cells, size)] * (gx * fy * gz)
        total += table[start + corner_row(c[0] + 1, c[1] + 1, c[2], cells, size)] * (fx * fy * gz)
        total += table[start + corner_row(c[0], c[1], c[2] + 1, cells, size)] * (gx * gy * fz)
        total += table[start + corner_row(c[0] + 1, c[1], c[2] + 1, cells, size)] * (fx * gy * fz)
        total += table[start + corner_row(c[0], c[1] + 1, c[2] + 1, cells, size)] * (gx * fy * fz)
        total += table[start + corner_row(c[0] + 1, c[1] + 1, c[2] + 1, cells, size)] * (fx * fy * fz)
        encoded[point, level] = total

    return forward


def _backward_table(features: int) -> Any:
    vector = wp.types.vector(length=features, dtype=wp.float32)

    @wp.kernel(enable_backward=False, module="unique")
    def backward_table(
        positions: wp.array(dtype=wp.vec3),
        encoded_grad: wp.array(dtype=vector, ndim=2),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        first: wp.int32,
        stride: wp.int32,
        size: wp.int32,
        table_grad: wp.array(dtype=vector),
    ):
        turn, point = wp.tid()
        level = first + turn * stride
        cells = resolutions[level]
        start = offsets[level]
        scaled = positions[point] * wp.float32(cells)
        c = lower_corner(scaled, cells)
        fx, fy, fz = scaled[0] - wp.float32(c[0]), scaled[1] - wp.float32(c[1]), scaled[2] - wp.float32(c[2])
        gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
        g = encoded_grad[point, level]
        wp.atomic_add(table_grad, start + corner_row(c[0], c[1], c[2], cells, size), g * (gx * gy * gz))
        wp.atomic_add(table_grad, start + corner_row(c[0] + 1, c[1], c[2], cells, size), g * (fx * gy * gz))
        wp.atomic_add(table_grad, start + corner_row(c[0], c[1] + 1, c[2], cells, size), g * (gx * fy * gz))
        wp.atomic_add(table_grad, start + corner_row(c[0] + 1, c[1] + 1, c[2], cells, size), g * (fx * fy * gz))
        wp.atomic_add(table_grad, start + corner_row(c[0], c[1], c[2] + 1, cells, size), g * (gx * gy * fz))
        wp.atomic_add(table_grad, start + corner_row(c[0] + 1, c[1], c[2] + 1, cells, size), g * (fx * gy * fz))
        wp.atomic_add(table_grad, start + corner_row(c[0], c[1] + 1, c[2] + 1, cells, size), g * (gx * fy * fz))
        wp.atomic_add(table_grad, start + corner_row(c[0] + 1, c[1] + 1, c[2] + 1, cells, size), g * (fx * fy * fz))

    return backward_table


def _backward_positions(features: int) -> Any:
    vector = wp.types.vector(length=features, dtype=wp.float32)

    @wp.kernel(enable_backward=False, module="unique")
    def backward_positions(
        positions: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=vector),
        encoded_grad: wp.array(dtype=vector, ndim=2),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        size: wp.int32,
        position_grad: wp.array(dtype=wp.vec3),
    ):
        point = wp.tid()
        total = wp.vec3(0.0, 0.0, 0.0)
        for level in range(resolutions.shape[0]):
            cells = resolutions[level]
            start = offsets[level]
            scaled = positions[point] * wp.float32(cells)
            c = lower_corner(scaled, cells)
            fx, fy, fz = scaled[0] - wp.float32(c[0]), scaled[1] - wp.float32(c[1]), scaled[2] - wp.float32(c[2])
            g = encoded_grad[point, level]
            for corner in range(8):
                dx, dy, dz = corner & 1, (corner >> 1) & 1, (corner >> 2) & 1
                row = start + corner_row(c[0] + dx, c[1] + dy, c[2] + dz, cells, size)
                value = wp.dot(table[row], g) * wp.float32(cells)
                wx = wp.where(dx == 1, fx, 1.0 - fx)
                wy = wp.where(dy == 1, fy, 1.0 - fy)
                wz = wp.where(dz == 1, fz, 1.0 - fz)
                sx = wp.where(dx == 1, value, -value)
                sy = wp.where(dy == 1, value, -value)
                sz = wp.where(dz == 1, value, -value)
                total += wp.vec3(sx * wy * wz, wx * sy * wz, wx * wy * sz)
        position_grad[point] = total

    return backward_positions
