"""Stage *train*: the embedded model's decoder, then its U-Net with the ControlNets, trained on from the shipped weights.

They get what is left of the time, in batches as large as pay. The encoder stays as it is, and with it the latents that the U-Net
knows. Into the output folder go sample sheets, autoencoder.png and diffusion.png, and the model in two archives, model-unet.tar
and model-rest.tar, which unpacked into one folder are what `backbone.path` and `stage.initial` take. Nothing replaces the
shipped weights by itself.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from benchmarks.gpu.stage import Stage
from qnerf.backbones.architecture import TINY, PuppetWidths, build_puppet
from qnerf.backbones.puppet import PUPPET_FOLDER
from qnerf.backbones.revision import seal
from qnerf.pretrain.__main__ import CONF, parse
from qnerf.pretrain.checkpoint import read_checkpoint
from qnerf.pretrain.data import Batch, PuppetSamples, load_batch
from qnerf.pretrain.diffusion import DiffusionTrainee
from qnerf.pretrain.export import export, save_parts
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import ExportStage
from qnerf.pretrain.vae import VaeTrainee, psnr
from qnerf.scenes.procedural.phrases import WORDS

WORLD = 2  # which the shipped weights were trained on
DECODER_SHARE = 0.25  # of the stage's time
RESERVE = 30.0  # seconds behind the last training, for its sheet, measurement and export
BATCHES = (32, 64, 128, 256, 512)
PAYS = 0.9
"""The smallest batch is taken that reaches this share of the rate that can be had: more steps for as many samples."""
HELDOUT = 64  # samples that the gain is measured on
MEASURED_SEED = 901
TENSORS, LISTS = ("images", "controls", "parts"), ("captions", "details", "words")


class Trainee(Protocol):
    """What both trainings have in common here."""

    modules: nn.ModuleDict

    @property
    def samples(self) -> PuppetSamples: ...

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]: ...

    def sheet(self, path: Path) -> dict[str, float]: ...


@dataclass(frozen=True)
class Start:
    """The model that is trained on: the shipped one, or a random one at toy size. scratch: where trainings lie."""

    scratch: Path
    folder: Path
    widths: PuppetWidths
    toy: bool

    def settings(self, name: str, seconds: float, batch: int, *overrides: str) -> Any:
        """The typed settings of a training, from conf/pretrain."""
        own = [f"stage={name}", "+exp=pretrain/gpu", f"stage.output={self.scratch / name}", f"stage.batch={batch}"]
        own += [f"stage.workers={workers()}", "stage.warmup=20", "stage.samples=null", "stage.sheet_minutes=1000"]
        own += [f"stage.budget_minutes={max(seconds, 5) / 60:.4f}", *overrides]
        if self.toy:
            own += ["stage.device=cpu", "stage.precision=float32", "stage.workers=0", "stage.samples=8"]
        with initialize_config_dir(CONF, version_base="1.3"):
            return parse(compose("config", own)).stage


def workers() -> int:
    """Processes that render samples: all cores but one, which feeds the GPU."""
    return max(len(os.sched_getaffinity(0)) - 1, 1)


def start(stage: Stage) -> Start:
    if not stage.toy:
        return Start(stage.scratch, PUPPET_FOLDER, PuppetWidths(), False)
    folder = stage.scratch / "random"
    save_parts(build_puppet(0, TINY, WORDS[WORLD]), folder)
    seal(folder, WORLD)
    return Start(stage.scratch, folder, TINY, True)


def train_decoder(stage: Stage) -> None:
    """The decoder alone, for the encoder's latents as they are."""
    end, begin = stage.left * (1 - DECODER_SHARE), start(stage)
    own = [f"stage.initial={begin.folder / 'vae'}", "stage.decoder_only=true", "stage.learning_rate=3.0e-4", "stage.crop=null"]
    trainee = VaeTrainee(begin.settings("vae", 5, 1, *own), begin.widths)
    images = heldout(trainee, begin.toy).images.to(trainee.device)

    @torch.no_grad()
    def quality() -> float:
        decoded: Any = trainee.vae.decode(trainee.vae.encode(2 * images - 1).latent_dist.mean)  # pyright: ignore
        return psnr((decoded.sample / 2 + 0.5).clamp(0, 1) - images)

    before = quality()
    batch, note = paying_batch(trainee, begin.toy)
    settings = begin.settings("vae", stage.left - end - 5, batch, *own)
    average = train(trainee, settings)
    tell_rate(stage, "train.decoder.rate", settings, note)
    with average.applied():
        after = quality()
        trainee.vae.save_pretrained(stage.scratch / "autoencoder")
    stage.report("train.decoder.gain", after - before, f"{before:.2f} to {after:.2f} dB on {len(images)} pictures")
    keep_sheet(Path(settings.output), stage.out / "autoencoder.png")


def train_diffusion(stage: Stage) -> None:
    """U-Net, text encoder and ControlNets together, as the shipped ones were trained; then the whole model is exported."""
    begin = start(stage)
    own = [f"stage.initial={begin.folder}", "stage.learning_rate=2.0e-4"]
    trainee = DiffusionTrainee(begin.settings("diffusion", 5, 1, *own), begin.widths)
    batch_of = heldout(trainee, begin.toy)

    @torch.no_grad()
    def error() -> float:
        draws = [trainee.loss(batch_of, torch.Generator().manual_seed(seed))[1]["error"] for seed in range(4)]
        return sum(draws) / len(draws)

    before = error()
    batch, note = paying_batch(trainee, begin.toy)
    settings = begin.settings("diffusion", stage.left - RESERVE, batch, *own)
    average = train(trainee, settings)
    tell_rate(stage, "train.diffusion.rate", settings, note)
    with average.applied():
        after = error()
    words = f"{before:.4f} to {after:.4f} on {len(batch_of.captions)} pictures"
    stage.report("train.diffusion.gain", 100 * (before - after) / before, words)
    keep_sheet(Path(settings.output), stage.out / "diffusion.png")
    decoder = stage.scratch / "autoencoder"
    vae = decoder if (decoder / "config.json").is_file() else begin.folder / "vae"
    model = export(ExportStage(diffusion=settings.output, vae=str(vae), output=str(stage.scratch / "model")), begin.widths)
    pack(model, stage.out)


def heldout(trainee: Trainee, toy: bool) -> Batch:
    """Samples that no training sees, of the trainee's kind."""
    own = trainee.samples
    what = {"details": dict(zip(own.details.names, own.details.shares.tolist(), strict=True)), "world": own.world}
    return load_batch(PuppetSamples(MEASURED_SEED, own.size, **what, heldout=True), range(4 if toy else HELDOUT))


def paying_batch(trainee: Trainee, toy: bool) -> tuple[int, str]:
    """The batch to train with, and what it was chosen by: the GPU's rate at each size, and the renderers' rate."""
    if toy:
        return 4, "toy size"
    started = time.perf_counter()
    few = load_batch(trainee.samples, range(16))
    rendered = 16 * workers() / (time.perf_counter() - started)
    rates: dict[int, float] = {}
    for size in BATCHES:
        try:
            rates[size] = learnt_rate(trainee, repeated(few, size // 16))
        except torch.OutOfMemoryError:
            break
        if rates[size] < 1.05 * rates.get(size // 2, 0.0):
            break
    enough = PAYS * min(rendered, max(rates.values()))
    chosen = next(size for size, rate in rates.items() if rate >= enough)
    measured = ", ".join(f"{size}: {rate:.0f}" for size, rate in rates.items())
    return chosen, f"by batch {measured} a second, rendering {rendered:.0f}"


def learnt_rate(trainee: Trainee, batch: Batch) -> float:
    """Samples a second, forward and backward, of the second and third of three passes; the weights stay as they are."""

    def turn(seed: int) -> float:
        trainee.loss(batch, torch.Generator().manual_seed(seed))[0].backward()
        trainee.modules.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return time.perf_counter()

    started, _, ended = turn(0), turn(1), turn(2)
    return 2 * len(batch.captions) / (ended - started)


def repeated(batch: Batch, times: int) -> Batch:
    """A batch several times over: what it costs does not depend on what it shows."""
    tensors = {name: getattr(batch, name).repeat(times, *[1] * (getattr(batch, name).ndim - 1)) for name in TENSORS}
    return replace(batch, **tensors, **{name: getattr(batch, name) * times for name in LISTS})


def tell_rate(stage: Stage, row: str, settings: Any, note: str) -> None:
    counters = read_checkpoint(Path(settings.output))[1]
    samples = counters.step * settings.batch
    stage.report(row, samples / counters.seconds, f"{samples} samples in batches of {settings.batch}; {note}")


def keep_sheet(training: Path, path: Path) -> None:
    """The last of a training's sample sheets."""
    shutil.copyfile(max(training.glob("sheet_*.png")), path)


def pack(model: Path, out: Path) -> None:
    """The model's folder as two archives of less than 16 MB, few and flat, so that they are easily carried."""
    for name, mine in (("model-unet.tar", True), ("model-rest.tar", False)):
        with tarfile.open(out / name, "w") as archive:
            for path in sorted(model.iterdir()):
                if (path.name == "unet") == mine:
                    archive.add(path, path.name)


def main() -> None:
    stage = Stage.from_command_line()
    stage.part("decoder", ("train.decoder.rate", "train.decoder.gain"), 80, train_decoder)
    stage.part("diffusion", ("train.diffusion.rate", "train.diffusion.gain"), 50, train_diffusion)


if __name__ == "__main__":
    main()
