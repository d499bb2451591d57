"""How large the paper's raw steps `z - α ∇` are: RMS of the step over σ times the latent's RMS, along a run.

    python experiments/consolidation/raw_step.py schedule=independent guidance=off 'baselines=[paper]' scene.views=4

Arguments are a run's overrides; a method with guidance.step=raw must be among its methods. Nothing is found in an edit that is
in the store already: name another output_dir.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from statistics import median

from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.config import parse
from qnerf.consolidation.targets import TargetQueries
from qnerf.denoising.edit import EditBranch
from qnerf.guidance.soft import Soft
from qnerf.run import CONFIGS
from qnerf.runs import pipeline


def main(overrides: list[str]) -> None:
    found: dict[int, list[float]] = defaultdict(list)
    real = Soft.pulled

    def pulled(self: Soft, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        moved = real(self, branch, z, k, target)
        if self.settings.step == "raw":
            size, whole = ((x.square().mean(dim=(1, 2, 3)).sqrt()) for x in (moved - z, z))
            found[k] += (size / whole / branch.steps.sigma[k]).tolist()
        return moved

    Soft.pulled = pulled
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        pipeline.run(parse(compose("config", overrides)), "experiments/consolidation/raw_step.py")
    for k, sizes in sorted(found.items()):
        print(f"step {k:3d}   median {median(sizes):.4f}   from {min(sizes):.4f} to {max(sizes):.4f}")
    print(f"all steps and views: median {median(size for sizes in found.values() for size in sizes):.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
