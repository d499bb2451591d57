"""Every editor, and all additions at once, under every guidance and the schedules that guide, in chunks of 1 and of all views.

python -m pytest -m slow tests/editors/test_everywhere.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qnerf.editors.additions.adaptive_mask import AdaptiveMaskSettings
from qnerf.editors.additions.attend_and_excite import AttendAndExciteSettings
from qnerf.editors.additions.layout_control import LayoutControlSettings
from qnerf.editors.additions.rich_text import RichTextSettings
from qnerf.editors.additions.sdedit import SdeditSettings
from qnerf.editors.additions.self_guidance import SelfGuidanceSettings
from qnerf.editors.additions.spatial_temporal import SpatialTemporalSettings
from qnerf.editors.editor import EditorSettings
from qnerf.editors.fpe import FpeSettings
from qnerf.editors.local_blend import BlendSettings
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.editors.p2p import P2pSettings
from qnerf.editors.pnp import PnpSettings
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.editors.helpers import job_of
from tests.schedules.helpers import edit

pytestmark = pytest.mark.slow

SCALES: dict[str, Any] = {"guidance_scale": 2.0, "control_guidance": 1.5}  # three predictions a step
ADDITIONS = (
    AdaptiveMaskSettings(name="adaptive_mask", below=900, source_line=True),
    AttendAndExciteSettings(name="attend_and_excite", refinements=1),
    LayoutControlSettings(name="layout_control", iterations=1),
    SelfGuidanceSettings(name="self_guidance", words=("figure",), weight=1.0),
    SdeditSettings(name="sdedit", strength=0.8),
    RichTextSettings(name="rich_text", regions={"figure": "a blue shirt"}, sizes={"blue": 2.0}, segments=3),
    SpatialTemporalSettings(name="spatial_temporal", objects={"blue shirt": None, "figure": (0.5, 0.4)}, last_weight=0.0),
)
EDITORS: dict[str, EditorSettings] = {
    "masactrl": MasaCtrlSettings(name="masactrl", mask="words", mask_words=("figure",), keys="union", **SCALES),
    "fpe": FpeSettings(name="fpe", **SCALES),
    "p2p": P2pSettings(
        name="p2p", local_blend=BlendSettings(source=("figure",), target=("figure",)), weights={"blue": 2.0}, **SCALES
    ),
    "pnp": PnpSettings(name="pnp", **SCALES),
    "all additions": FpeSettings(name="fpe", additions={part.name: part for part in ADDITIONS}, **SCALES),
}
PROGRESSIVE = ProgressiveSettings(name="progressive", interval=1)
COMBINATIONS = (
    (PROGRESSIVE, SoftSettings(name="soft", step_size=0.02)),
    (PROGRESSIVE, MixedSettings(name="mixed", strength=0.3)),
    (OneShotSettings(name="one_shot", interval=1), HardSettings(name="hard")),
)


@pytest.mark.parametrize("editor", EDITORS.values(), ids=EDITORS)
@pytest.mark.parametrize(("schedule", "guidance"), COMBINATIONS, ids=("soft", "mixed", "hard"))
def test_chunks_change_nothing_under_any_guidance(schedule: Any, guidance: Any, editor: EditorSettings) -> None:
    whole, single = (edit(schedule, guidance, job_of(editor, chunk_size=size)).latents for size in (2, 1))
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-3)
