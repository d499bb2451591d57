"""Settings of the fields. Both fields share the trunk, the sampling and the optimiser; only their heads
differ."""

from typing import Literal, Self

from pydantic import Field, model_validator

from qnerf.settings import Settings

EncodingName = Literal["auto", "torch", "triton", "warp", "tinycudann"]
"""Implementation of the hash grid. `auto` on a GPU: tiny-cuda-nn if it is installed and faster than Triton in
a test of two seconds, else Triton, else warp, else torch; on a CPU: warp, else torch."""
Normalisation = Literal["layer", "channel"]
RayLoss = Literal["norm", "squared", "huber"]


class EncodingSettings(Settings):
    """The multiresolution hash grid (Müller et al., "Instant neural graphics primitives", 2022)."""

    levels: int = Field(default=4, gt=0, le=32)
    features_per_level: Literal[1, 2, 4, 8] = 4
    log2_table_size: int = Field(default=18, ge=4, le=24)
    """Each level stores at most 2 ** this many entries; fine levels share entries by hashing."""
    base_resolution: int = Field(default=8, gt=0)
    """Cells per axis of the coarsest level, over the contracted cube (the ball of interest is its middle half)."""
    finest_resolution: int = Field(default=64, gt=0, le=2**20)
    table_dtype: Literal["float32", "float16"] = "float32"
    """Precision of table look-ups. Parameters, sums and gradients are always float32."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.finest_resolution < self.base_resolution:
            raise ValueError("finest_resolution is below base_resolution; expected at least the same: raise it")
        return self


class SamplingSettings(Settings):
    """Samples along a ray: stratified, then by importance (inverse CDF) from a coarse grid of the field's own density."""

    coarse_samples: int = Field(default=64, gt=1)
    """Samples of the proposal grid per ray; they are cheap, because no network runs."""
    fine_samples: int = Field(default=16, gt=1)
    """Evaluations of the field per ray in training."""
    render_samples: int = Field(default=32, gt=1)
    """Evaluations of the field per ray in rendering."""
    proposal: Literal["weights", "occupancy"] = "weights"
    """Where to sample: by the weights of the coarse grid's rendering, or evenly in cells that are not
    empty."""
    uniform_share: float = Field(default=0.5, ge=0, le=1)
    """Share of samples that are spread evenly along the ray, so that empty space is also checked; 1: all."""
    scale_near_gradients: bool = True
    """Weaken gradients of samples between camera and focus: prevents fog that only one view sees."""
    near_fraction: float = Field(default=0.65, gt=0, lt=1)
    """Nearest sample, as a fraction of the camera's distance to the focus."""
    far_radii: float = Field(default=1.5, gt=0)
    """Farthest sample, in radii behind the point of the ray that is nearest to the focus."""
    proposal_resolution: int = Field(default=48, gt=1)
    """Cells per axis of the proposal grid, over the contracted cube."""
    proposal_every: int = Field(default=32, gt=0)
    """Training steps between two updates of the proposal grid."""


class InitialDensitySettings(Settings):
    """The initial density, per radius of length: a soft ball around the focus, and less density elsewhere.

    A few views can also be explained by a picture directly in front of each camera, or on a far wall.
    Training stays close to its start, so it starts from an object in the middle of nearly empty space.
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
    """The query field (docs/method.md §2.4)."""

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
    """Width W of the rendered feature, which the linear head of every layer reads (deferred heads)."""
    jitter: float = Field(default=1.0, ge=0, le=1)
    """Where training rays pass through a token's patch: 0: its centre, 1: anywhere in it (area sampling)."""
    render_rays_per_side: int = Field(default=2, gt=0, le=8)
    """A rendered token is the mean of n x n rays, spread evenly over its patch."""
    small_map_share: float = Field(default=0.5, ge=0, le=1)
    """Rays per resolution are proportional to (number of tokens) ** this; 0: the same number for each."""
    normalisation: Normalisation = "layer"
    """Queries are normalised to mean 0 and standard deviation 1, per layer or per channel."""
    components: int | None = Field(default=None, gt=0)
    """Number of principal components of each layer's queries to learn; None: all channels."""
    loss: RayLoss = "norm"
    """Loss on the error of a ray's query: norm (the paper), squared, or huber (squared near 0)."""
    trimmed: float = Field(default=0.0, ge=0, lt=1)
    """Share of a batch's rays to ignore, those with the largest loss in each layer: against outliers."""
    heldout_every: int | None = Field(default=None, ge=2)
    """Every n-th view is held out, and R² is measured on these alone: for studies of the field. None: no
    view."""
    depth_weight: float = Field(default=0.0, ge=0)
    """Weight λ_d of the depth loss, which pulls the expected depth to the front of the object's bounds
    (`loose_depth`)."""
    device_gib: float = Field(default=4.0, ge=0)
    """Queries up to this size, GiB, stay on the device in training; larger ones stay in host memory and are
    copied batch by batch. Affects memory and speed, not results."""
    background: bool = True
    """Learn a background feature that depends on the ray's direction, times 1 - Σ w; otherwise it is 0."""


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


class SourceFieldSettings(RgbFieldSettings):
    """The radiance field of the source views that posing reads (docs/method.md §7.1): finer than the one for
    measuring, with a ground plane and a picture at infinity, and a loss that asks for opaque surfaces."""

    grid: EncodingSettings = EncodingSettings(finest_resolution=256, log2_table_size=18)
    surroundings: EncodingSettings = EncodingSettings(levels=5, base_resolution=3, log2_table_size=16, finest_resolution=128)
    """The hash grids of the ground's colours and of those at infinity."""
    ground: bool = True
    """Look for a floor, or else for a wall: the plane on which the views agree best."""
    initial_density: InitialDensitySettings = InitialDensitySettings(centre=3.0, surroundings=0.0003, spread=0.1)
    sampling: SamplingSettings = SamplingSettings(
        fine_samples=24, far_radii=2.0, render_samples=48, uniform_share=0.2, proposal_resolution=64, proposal_every=64
    )
    optimiser: OptimiserSettings = OptimiserSettings(iterations=350, rays_per_batch=1024, weight_decay=0.1)
    jitter: float = Field(default=1.0, ge=0, le=1)
    """Where training rays pass through a pixel: 0: its centre, as rendered rays do, 1: anywhere in it."""
    object_share: float = Field(default=0.75, ge=0, le=1)
    """Share of the training rays that pass through the proxy's bounds; the others are any pixels. Without a
    proxy all are."""
    distortion_weight: float = Field(default=1e-3, ge=0)
    """Weight of the distortion loss, which gathers each ray's weights in one place."""
    outside_weight: float = Field(default=0.1, ge=0)
    """Weight of what the volume outside the proxy's bounds adds to rays through them: against fog."""
    closed_until: float = Field(default=0.4, ge=0, le=1)
    """Share of the training in which the volume is empty outside the proxy's bounds: what is within them, the
    ground and the colours at infinity explain what they can before anything else may."""
    behind_weight: float = Field(default=0.1, ge=0)
    """Weight, until then, of the difference of ground and infinity from the pictures with the object's place
    filled from its rim."""
    opacity_weight: float = Field(default=0.003, ge=0)
    """Weight of o (1 - o), o the volume's opacity on a ray through the bounds: it is to stop a ray or let it pass."""
    depth_weight: float = Field(default=0.1, ge=0)
    """Weight of the depth loss, where the capture has depth."""

    @model_validator(mode="after")
    def _leave_samples_beside_the_ground(self) -> Self:
        if min(self.sampling.fine_samples, self.sampling.render_samples) < 4:
            raise ValueError(
                "sampling.fine_samples and sampling.render_samples are below 4, of which the ground takes 2: raise them"
            )
        return self
