"""What consolidation gave in every cell of a sweep, and in the mean, as a Markdown table:

    python experiments/consolidation/summarise.py outputs/sweeps/articulation-<hash>

cut: how much of `warp_error_moved` above its floor the full edit takes away of the independent one's. A cell counts in the mean
only where there is something to consolidate: the independent edit's `warp_error_moved` is at least 1.5 times its floor.
"""

from __future__ import annotations

import sys
from pathlib import Path

from qnerf.reports.results import figures_by_method, read_rows

LEAST_WARP_ERROR = 1.5  # times the floor
FIGURES = ("psnr_object", "psnr_moved", "warp_error_moved")


def main(path: str) -> int:
    rows = [row for row in read_rows(Path(path)) if row["status"] == "done"]
    cells = [(row["scene"], *compare(row)) for row in rows]
    print("| scene | psnr_object | psnr_moved | warp_error_moved (floor) | cut |\n|---|---|---|---|---|")
    for scene, independent, full, floor, cut in cells:
        figures = [f"{independent[name]:.2f}, {full[name]:.2f}" for name in FIGURES[:2]]
        print(
            f"| {scene} | {' | '.join(figures)} | {independent[FIGURES[2]]:.4f}, {full[FIGURES[2]]:.4f} ({floor:.4f}) | {cut:.0%} |"
        )
    counted = [cell for cell in cells if cell[1]["warp_error_moved"] >= LEAST_WARP_ERROR * cell[3]]
    if not counted:
        print("\nNo cell has anything to consolidate.")
        return 1
    gains = {
        name: sum(full[name] - independent[name] for _, independent, full, _, _ in counted) / len(counted) for name in FIGURES[:2]
    }
    cut = sum(cell[4] for cell in counted) / len(counted)
    told = ", ".join(f"{name} {gain:+.2f} dB" for name, gain in gains.items())
    print(f"\nMean of {len(counted)} cells: cut {cut:.1%}, {told}.")
    return 0


def compare(row: dict[str, str]) -> tuple[dict[str, float], dict[str, float], float, float]:
    """Figures of the independent and of the full edit, the floor, and the cut."""
    methods = figures_by_method(row)
    independent, full = ({name: methods[method][name] for name in FIGURES} for method in ("independent", "full"))
    floor = methods["full"]["warp_error_moved_floor"]
    before, after = independent["warp_error_moved"], full["warp_error_moved"]
    return independent, full, floor, (before - after) / (before - floor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
