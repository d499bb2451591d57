"""Typed settings of the fields. The two fields share the trunk, the sampling and the optimiser; only their heads differ."""

from typing import Literal, Self

from pydantic import Field, model_validator

from qnerf.settings import Settings

EncodingName = Literal["auto", "torch", "triton", "warp", "tinycudann"]
"""Implementation of the hash grid. `auto`, on a GPU: tiny-cuda-nn where it is installed and faster than Triton in a probe of two
seconds, else Triton, else warp, else plain torch; on a CPU: warp, else plain torch."""
Normalisation = Literal["layer", "channel"]
RayLoss = Literal["norm", "squared", "huber"]


class EncodingSettings(Settings):
    """The multiresolution hash grid (Müller et al., "Instant neural graphics primitives", 2022)."""

    levels: int = Field(default=4, gt=0, le=32)
    features_per_level: Literal[1, 2, 4, 8] = 4
    log2_table_size: int = Field(default=18, ge=4, le=24)
    """Each level stores at most 2 ** this many entries; finer levels share them by hashing."""
    base_resolution: int = Field(default=8, gt=0)
    """Cells per axis of the coarsest level, over the contracted cube (the ball of interest is its middle half)."""
    finest_resolution: int = Field(default=64, gt=0, le=2**20)
    table_dtype: Literal["float32", "float16"] = "float32"
    """The type in which a table's values are read. Parameters, sums and gradients are float32 in any case."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.finest_resolution < self.base_resolution:
            raise ValueError("finest_resolution is below base_resolution; expected at least the same: raise it")
        return self


class SamplingSettings(Settings):
    """Samples along a ray: stratified, then by importance (inverse CDF) from a coarse grid of the field's own density."""

    coarse_samples: int = Field(default=64, gt=1)
    """Intervals in which the proposal grid is looked up; they are cheap, no network is run."""
    fine_samples: int = Field(default=16, gt=1)
    """Intervals in which the field is evaluated, in training."""
    render_samples: int = Field(default=32, gt=1)
    """The same when a finished field is rendered."""
    proposal: Literal["weights", "occupancy"] = "weights"
    """What of the coarse grid draws samples: the weights that it renders with, or alike whatever is not empty."""
    uniform_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the samples spread evenly along the ray whatever the proposal says: keeps empty space under watch. 1: all."""
    scale_near_gradients: bool = True
    """Weaken gradients of samples between the camera and the focus, so that no view fills that space with fog of its own."""
    near_fraction: float = Field(default=0.65, gt=0, lt=1)
    """Nearest sample, as a fraction of the camera's distance to the focus."""
    far_radii: float = Field(default=1.5, gt=0)
    """Farthest sample, in radii beyond the point of the ray that is nearest to the focus."""
    proposal_resolution: int = Field(default=48, gt=1)
    """Cells per axis of the proposal grid, over the contracted cube."""
    proposal_every: int = Field(default=32, gt=0)
    """Training steps between two refreshes of the proposal grid."""


class InitialDensitySettings(Settings):
    """The density that training starts from, per radius of length: a soft ball round the focus in thinner surroundings.

    A few views can also be explained by a picture painted before each camera or on the far wall; training keeps to the kind of
    solution that it starts nearest to, and this start is an object in the middle of all but empty space.
    """

    centre: float = Field(default=4.0, gt=0)
    surroundings: float = Field(default=0.003, gt=0)
    spread: float = Field(default=0.4, gt=0)
    """Standard deviation of the ball's Gaussian, in radii; the logarithm of the density follows it."""


class OptimiserSettings(Settings):
    """Adam with a warm-up over the first twentieth and an exponential decay of the learning rate."""

    iterations: int = Field(default=400, gt=0)
    learning_rate: float = Field(default=2e-2, gt=0)
    final_learning_rate: float = Field(default=2e-3, gt=0)
    eps: float = Field(default=1e-15, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled (AdamW) decay of every parameter."""
    rays_per_batch: int = Field(default=512, gt=0)


class FieldSettings(Settings):
    """The query field (METHOD §2.4)."""

    name: Literal["hash_grid"] = "hash_grid"
    encoding: EncodingName = "auto"
    grid: EncodingSettings = EncodingSettings()
    initial_density: InitialDensitySettings = InitialDensitySettings()
    sampling: SamplingSettings = SamplingSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    hidden_width: int = Field(default=64, gt=0)
    """Width of the hidden layers of the base network."""
    hidden_layers: int = Field(default=1, ge=1, le=8)
    geometry_width: int = Field(default=64, gt=0)
    """Width W of the hidden feature that is composited; every layer's linear head reads it (deferred heads)."""
    jitter: float = Field(default=1.0, ge=0, le=1)
    """How far training rays stray inside their token's patch: 0 is its centre, 1 the whole patch (area sampling)."""
    render_rays_per_side: int = Field(default=2, gt=0, le=8)
    """A rendered token is the mean of this many rays squared, spread evenly over its patch."""
    small_map_share: float = Field(default=0.5, ge=0, le=1)
    """Rays per resolution grow as (number of tokens) ** this: 1 is in proportion, 0 the same number for each."""
    normalisation: Normalisation = "layer"
    """Queries are brought to mean 0 and standard deviation 1 as a layer, or channel by channel."""
    components: int | None = Field(default=None, gt=0)
    """Principal components of each layer's queries that are learnt; null: all channels, as they are."""
    loss: RayLoss = "norm"
    """What is minimised of a ray's distance to its query: norm (the paper's), squared, or huber (squared near 0)."""
    trimmed: float = Field(default=0.0, ge=0, lt=1)
    """Share of every batch's rays, the worst explained of each layer, that do not count: against outliers."""
    heldout_every: int | None = Field(default=None, ge=2)
    """Every n-th view is left out of the training, and R² measured on these alone: for studies of the field. None: no view is."""
    depth_weight: float = Field(default=0.0, ge=0)
    """Weight λ_d of the depth term: the expected depth is drawn to the front of what bounds the edited object (`loose_depth`)."""
    device_gib: float = Field(default=4.0, ge=0)
    """Queries to learn of up to this size lie on the device in training, larger ones in the host's memory, batch by batch. One of
    memory and speed: it changes no result."""
    background: bool = True
    """A learnt hidden feature, smooth in the direction, times 1 - Σ w, for what no density stops; else 0."""


class RgbFieldSettings(Settings):
    """A radiance field without view dependence, on the same trunk."""

    name: Literal["hash_grid"] = "hash_grid"
    encoding: EncodingName = "auto"
    grid: EncodingSettings = EncodingSettings()
    initial_density: InitialDensitySettings = InitialDensitySettings(surroundings=0.0003)
    sampling: SamplingSettings = SamplingSettings(fine_samples=24, far_radii=2.0)
    optimiser: OptimiserSettings = OptimiserSettings()
    hidden_width: int = Field(default=64, gt=0)
    hidden_layers: int = Field(default=1, ge=1, le=8)
    geometry_width: int = Field(default=16, gt=0)
    """Width of the hidden feature that the colour head reads at every sample."""
