"""Typed settings of the training of the embedded backbone: `python -m qnerf.pretrain stage=…`."""

from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from qnerf.config import AnyTracker
from qnerf.scenes.settings import Detail
from qnerf.settings import Settings
from qnerf.variants import variants

Kind = Literal["figure", "lamp", "seat", "toy"]


def _some(shares: dict[str, float]) -> dict[str, float]:
    if not sum(shares.values()) > 0:
        raise ValueError("all shares are 0, expected at least one above 0")
    return shares


Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
KindShares = Annotated[dict[Kind, Share], AfterValidator(_some)]
DetailShares = Annotated[dict[Detail, Share], AfterValidator(_some)]


class LoopSettings(Settings):
    """What the training stages share: length, optimiser, average of the weights, data and files."""

    output: str = Field(min_length=1)
    """Folder of the checkpoint, the metrics and the sample sheets; a rerun resumes from it."""
    seed: int = Field(default=0, ge=0)
    """Determines, with a sample's index, the sample, its noise and its dropouts; 900 to 999 are held out and
    refused."""
    world: Literal[1, 2] = 1
    """Version of the procedural world. 1: figures, with one caption each; 2: all kinds, several captions,
    textured backgrounds."""
    kinds: KindShares | None = None
    """Relative share of each kind of object; None: equal shares."""
    samples: int | None = Field(default=None, gt=0)
    """Number of training samples; None: no limit."""
    budget_minutes: float | None = Field(default=None, gt=0)
    """Training time over all resumed runs; None: no limit. The first of the two limits that is reached ends
    the training."""
    batch: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate, after the warm-up; then it falls by a cosine to 1/50 of it at the end."""
    warmup: int = Field(default=100, ge=1)
    """Steps of linear warm-up."""
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    """Maximum norm of the gradient."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay per step of the running average of the weights; the average is exported."""
    device: str = "auto"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    channels_last: bool = True
    threads: int | None = Field(default=None, gt=0)
    """CPU threads of the training process; null: PyTorch's choice."""
    workers: int = Field(default=1, ge=0)
    """Processes that render samples."""
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    sheet_minutes: float = Field(default=10.0, gt=0)
    log_steps: int = Field(default=20, gt=0)
    tracker: AnyTracker = Field(default_factory=lambda: cast(AnyTracker, variants("trackers")["files"](name="files")))
    """Where losses and sample sheets are recorded: metrics.jsonl in the output folder, and W&B beside it."""

    @model_validator(mode="after")
    def _kinds_fit(self) -> Self:
        if self.world == 1 and self.kinds and set(self.kinds) != {"figure"}:
            raise ValueError(f"world 1 has no {', '.join(sorted(set(self.kinds) - {'figure'}))}; set stage.world=2")
        return self

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.samples is None and self.budget_minutes is None:
            raise ValueError("samples and budget_minutes are both null, so training would never end; set one of them")
        return self


class VaeStage(LoopSettings):
    """The autoencoder: L1 and squared error, L1 of image gradients, and a faint KL term."""

    name: Literal["vae"] = "vae"
    initial: str | None = None
    """Folder of the autoencoder to start from (stage=vae writes <output>/model); None: random weights."""
    decoder_only: bool = False
    """Keep the encoder, so that the latents that a diffusion model was trained on do not change."""
    photographs: float = Field(default=0.0, ge=0, le=1)
    """Share of samples that are procedural pictures with the statistics of photographs
    (`qnerf.pretrain.photographs`)."""
    crop: int | None = Field(default=64, gt=0)
    """Side of the random square cut from each image, pixels; None: whole images. Small crops give more steps
    per minute."""
    squared: float = Field(default=4.0, ge=0)
    """Weight of the squared error beside the absolute error's 1."""
    gradient: float = Field(default=0.5, ge=0)
    """Weight of the absolute error of image gradients, over three scales: keeps edges crisp."""
    kl: float = Field(default=1e-6, ge=0)

    @model_validator(mode="after")
    def _has_an_encoder(self) -> Self:
        if self.decoder_only and self.initial is None:
            raise ValueError("decoder_only needs a trained autoencoder; give its folder with stage.initial=…")
        return self


class DecoderStage(LoopSettings):
    """A larger decoder for the latents of a finished autoencoder, by the logarithm of the squared error, weighted to objects."""

    name: Literal["decoder"] = "decoder"
    vae: str = "asset:puppet/vae"
    """Folder of the autoencoder whose latents it decodes."""
    initial: str | None = None
    """Folder of the decoder to start from (stage=decoder writes <output>/model); None: the autoencoder's own, made wider."""
    factor: int = Field(default=2, ge=1)
    """How many times as wide as the autoencoder's own the new decoder is, at every level."""
    distinct: int | None = Field(default=None, gt=0)
    """Number of different samples, which come again and again and are rendered once (100 KB of memory each); None: all are
    different."""
    photographs: float = Field(default=0.0, ge=0, le=1)
    """Share of samples that are procedural pictures with the statistics of photographs
    (`qnerf.pretrain.photographs`)."""
    crop: int | None = Field(default=None, gt=0, multiple_of=4)
    """Side of the square round the object that is decoded of each picture, pixels; None: whole pictures. The latents are those
    of the whole picture."""
    objects: float = Field(default=4.0, ge=1)
    """Weight of the squared error on the object and its outline; elsewhere it is 1."""


class DiffusionStage(LoopSettings):
    """U-Net, text encoder and ControlNets, by noise prediction on the autoencoder's latents.

    diffusion: all together, best for a short training. unet: the U-Net and the text encoder without control.
    control: the ControlNets for a fixed U-Net, as for SD 1.5.
    """

    name: Literal["diffusion", "unet", "control"] = "diffusion"
    vae: str | None = None
    """Folder of the trained autoencoder (stage=vae writes <output>/model); None: that of the exported model
    in stage.initial, else the shipped one."""
    initial: str | None = None
    """Where the weights come from that this training starts from: the output folder of another one, or a folder that stage=export
    wrote, such as the shipped one, asset:puppet; null: random weights."""
    image: int | None = Field(default=None, gt=0, multiple_of=32)
    """Side of the training images, pixels; None: the model's. Half of it learns text and control at a quarter
    of the cost."""
    details: DetailShares | None = None
    """Relative share of each grade of control; None: equal shares of bones, joints, ends, and in world 2
    loose_depth, box."""
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    control_dropout: float = Field(default=0.15, ge=0, le=1)
    grounding: float = Field(default=0.0, ge=0)
    """Weight of a loss on the cross-attention of a word outside the part it names
    (`qnerf.pretrain.grounding`)."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """Extra weight of small parts in the loss (`qnerf.pretrain.balance`); 0: by area, 1: all parts equal."""
    snr_floor: float = Field(default=0.1, ge=0)
    """Minimum weight of the clean image's error: colours and pose are decided at high noise."""
    snr_cap: float = Field(default=5.0, gt=0)
    """Min-SNR-γ (Hang et al. 2023): the weight of time t is min(SNR, γ) / SNR."""

    @model_validator(mode="after")
    def _has_a_unet(self) -> Self:
        if self.name == "control" and self.initial is None:
            raise ValueError("stage=control needs a trained U-Net; give its folder with stage.initial=…")
        return self

    def shares(self) -> dict[str, float]:
        """The share of each grade of control."""
        grades = ("bones", "joints", "ends") if self.world == 1 else ("bones", "joints", "ends", "loose_depth", "box")
        return {**self.details} if self.details else dict.fromkeys(grades, 1.0)


class ClassifiersStage(LoopSettings):
    """The classifiers of `qnerf.evaluate_backbone`, on true renders: part maps, silhouettes, kinds, colours of named parts."""

    name: Literal["classifiers"] = "classifiers"
    weights: str | None = None
    """File to write at the end; None: <output>/classifiers.safetensors, so the shipped ones are not
    overwritten."""
    blur: float = Field(default=1.0, ge=0, le=1)
    """Maximum weight of the blurred picture that is mixed into a picture."""
    blotches: float = Field(default=0.06, ge=0, le=0.5)
    """Maximum amplitude of smooth colour noise."""
    noise: float = Field(default=0.04, ge=0, le=0.5)
    """Maximum standard deviation of white noise."""


class ExportStage(Settings):
    """Writes the running averages of a trained model as a float16 folder in diffusers' layout."""

    name: Literal["export"] = "export"
    diffusion: str = Field(min_length=1)
    """Output folder of the training: of stage=diffusion, or of stage=control after stage=unet. Or a folder that stage=export wrote,
    such as the shipped one, asset:puppet, to which a decoder is added."""
    vae: str | None = None
    """Folder of the autoencoder that it was trained with; None: as recorded by the training."""
    decoder: str | None = None
    """Folder of a larger decoder for that autoencoder's latents (stage=decoder writes <output>/model); None: none."""
    output: str | None = None
    """Folder to write; None: the weights inside the package."""


Stage = Annotated[VaeStage | DecoderStage | DiffusionStage | ClassifiersStage | ExportStage, Field(discriminator="name")]


class PretrainSettings(Settings):
    """The whole of the composed configuration."""

    stage: Stage
