"""What the units of a run's work were measured to take: seconds and bytes.

Calibrated on the demo (12 views of 128 pixels, 30 steps, embedded backbone, 2 CPU cores): an independent edit takes 22 s, a
full one 79 s, the whole run 140 s; and, stage by stage, on short runs of 4 and of 12 views. On a GPU, passes of Stable Diffusion,
steps of fields and posing are those of the one GPU that was measured (docs/gpu.md).
"""

MIB, GIB = 2**20, 2**30

# Seconds of the embedded backbone on 2 CPU cores.
PASS = 0.030  # UNet and ControlNet on one view, guided steps counted as `ScheduleSettings.work` counts them
FIRST_VISIT = 0.061  # of a step of one view by MasaCtrl: the source branch runs beside it, and its keys and values are kept
CODE = 0.035  # encoding or decoding one view
FIELD_START, FIELD_STEP, QUERIES = 0.1, 0.012, 0.085  # of a field, and each of its iterations; a view's queries rendered by it
SOURCE_STEP, POSED_VIEW = 0.035, 1.3  # an iteration of the source's radiance field, and rendering one posed view
HELDOUT_STEP = 0.014  # of each iteration of the field behind the held-out figures
MEASURE, REPORT = 0.035, 0.015  # of one method's view: its figures, and its share of sheets, video and page
RENDER, MATCHED, SEEN = 0.25, 0.03, 0.025  # of a view: by that field, its features matched with others, by the classifiers
START, LOAD = 3.7, 1e-9  # imports, the small model and the hash of the scene; each byte of a large model's weights

# Seconds on that GPU: recording passes and what else comes once; a field's iteration of `GPU_FIELD` evaluations of 16 levels; an
# iteration of the source's radiance field, and posing one view; and how many times as long as others a guided step's pass takes,
# which is not recorded in a graph.
GPU_START, GPU_FIELD_STEP, GPU_FIELD = 12.0, 0.0044, 4096 * 48 * 16
GPU_SOURCE_STEP, GPU_POSED_VIEW, GPU_GUIDED = 0.028, 0.67 * (128 / 512) ** 2, 2.6
FIELD = 512 * 16 * 4  # evaluations and levels of an iteration of `FIELD_STEP`

METHOD_FILES, VIEW_FILES = 0.25 * MIB, 0.19 * MIB  # of a method, and of each of its views
