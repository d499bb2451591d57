"""Instruct-NeRF2NeRF with ControlNet (Haque et al., ICCV 2023; docs/method.md §5.1): a radiance field's data, edited bit by bit.

A radiance field of the source views is trained on, and after every few iterations one view, in cyclic order, is rendered,
noised to a state that is drawn, denoised by the editor and put in the place of the field's picture of that view. What comes
out is what the field shows at the end.

Not as published: the control and the editor take the place of InstructPix2Pix and its image guidance; states are the run's
own; the loss is the mean squared error of single pixels (published: L1 and LPIPS on patches); and edits are far fewer, as the
field is small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.drawn import Drawn, DrawnSettings
from qnerf.schedules.schedule import Work

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.fields.rgb_field import RgbField
    from qnerf.fields.settings import OptimiserSettings
    from qnerf.guidance.guidance import Guidance


class In2nSettings(DrawnSettings):
    """iterations: of the field while views are edited. edit_every: iterations between two edits of a view. noisiest, cleanest:
    training times between which the state is drawn that a view is noised to."""

    name: Literal["in2n"]
    iterations: int = Field(default=1200, gt=0)
    edit_every: int = Field(default=10, gt=0)
    noisiest: int = Field(default=980, gt=0)

    @property
    def trains_radiance_field(self) -> bool:
        return True

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        """The mean number of passes: states are drawn evenly."""
        return {"unet": self.iterations // self.edit_every * (steps + 1) / 2, "feedback": 2.0}

    def build(self) -> In2n:
        return In2n(self)


class In2n(Drawn):
    settings: In2nSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        import torch

        from qnerf.consolidation.consolidate import derive_seed
        from qnerf.consolidation.result import EditResult
        from qnerf.devices import HOST
        from qnerf.fields.rgb_field import ColourLoss, train_rgb_field
        from qnerf.fields.training import train

        chunks = list(job.chunks())
        source = torch.cat([job.backbone.decode(job.trajectory.states[-1][views].to(job.device)) for views in chunks])
        seed = derive_seed(job.seed, "in2n")
        with torch.enable_grad():
            field = train_rgb_field(
                source, job.cameras, job.space, job.rgb_field, seed,
                on_step=lambda step, total, loss: job.on_work("feedback", 1 / total),
            )  # fmt: skip
            data = ColourLoss(field, source, job.cameras, seed)
            pictures = data.targets.view(job.views, *job.backbone.image_size, 3)

            def on_step(step: int, total: int, loss: float) -> None:
                job.on_work("feedback", 1 / total)
                if step % self.settings.edit_every == 0:
                    number = step // self.settings.edit_every - 1
                    pictures[number % job.views] = self.edited_view(job, field, number)[0].permute(1, 2, 0).to(pictures)

            train(field, field.trunk, data, self.optimiser(job), seed, on_step)
        shown = torch.cat([field.render(job.cameras[views])[0] for views in chunks])
        latents = torch.cat([job.backbone.encode(shown[views]) for views in chunks])
        return EditResult(latents.to(HOST), images=shown.to(HOST))

    def edited_view(self, job: EditJob, field: RgbField, number: int) -> Tensor:
        """The picture (1, 3, H, W) of view `number` mod N after the edit of that number."""
        import torch

        from qnerf.consolidation.consolidate import derive_seed
        from qnerf.consolidation.one_view import one_view
        from qnerf.consolidation.phases import plain_steps

        view = number % job.views
        generator = torch.Generator().manual_seed(derive_seed(job.seed, f"in2n edit {number}"))
        states = self.states(job)
        k = states[int(torch.randint(len(states), (), generator=generator))]
        with torch.no_grad():
            clean = job.backbone.encode(field.render(job.cameras[[view]])[0]).to(job.trajectory.states)
            noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean)
            job.editor.restore({})
            z = job.steps.signal[k] * clean + job.steps.sigma[k] * noise
            edited = plain_steps(one_view(job, view), z, k, len(job.steps))[0]
            return job.backbone.decode(edited.to(job.device))

    def optimiser(self, job: EditJob) -> OptimiserSettings:
        """That of the run's radiance field, for as many iterations as views are edited in."""
        return job.rgb_field.optimiser.model_copy(update={"iterations": self.settings.iterations})
