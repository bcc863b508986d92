"""A training step of ours, of kohya's sd-scripts and of diffusers' example: CPU seconds, and losses beside theirs.

A Stable Diffusion 1.x of a fifth of the real widths and random weights, on one thread, in float32: the same pictures,
captions, layers, rank, batch and number of steps. sd-scripts with cached latents and SDPA; they have no cache of what
the text encoder of Stable Diffusion 1.x says. diffusers' example encodes pictures and captions in every step.

The three run in turns, one step each, the others stopped meanwhile: who else works on the machine makes steps longer by
half, and so it does those of all three. A step is CPU time; the first few, and so all start-up, are left out.
"""

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.diffusion import load_base
from models.diffusion.families import DENOISER
from models.diffusion.lora_file import LoraWeights, from_peft, save_kohya
from models.pictures import encode_png
from models.trainers import TRAINERS, kohya_config, kohya_home
from models.trainers import kohya as kohya_trainer
from models.trainers.checkpoint import LossLog
from models.trainers.kohya_losses import LossReader
from models.trainers.step import Adapter
from models.weights import MissingWeights
from tests.benchmarks.paced import ROOT, Paced, start
from tests.models.sample_film import frames
from tests.tiny_kohya import small_base, small_checkout

LOOP = Path(__file__).with_name("diffusers_loop.py")
LAUNCHER = ROOT / "models" / "trainers" / "kohya_launch.py"
WIDTHS = (64, 128, 256, 256)  # of 320, 640, 1280, 1280
TEXT = (160, 2, 5)  # width, layers, heads; of 768, 12, 12: few layers, as there are few latents to be read beside
VAE_WIDTHS = (24, 48, 96, 96)  # of 128, 256, 512, 512
WARM, BLOCK, BLOCKS = 4, 10, 6  # steps, steps of a block, blocks
CURVE, SMOOTH = 200, 50  # steps, steps of a mean
SETTINGS = {
    "rank": 16,
    "alpha": 16.0,
    "learning_rate": 1e-3,
    "text_encoder_learning_rate": 0.0,
    "batch": 2,
    "resolution": 128,
    "scheduler": "constant",
    "warmup_steps": 0,
    "caption_dropout": 0.0,
    "validate_every": 0,
    "checkpoint_every": 100_000,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return small_base(tmp_path_factory.mktemp("training") / "base", WIDTHS, TEXT, vae())


def vae() -> AutoencoderKL:
    """Return an autoencoder of random weights whose distributions have no width, as trained ones nearly have none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=VAE_WIDTHS,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=8,
            scaling_factor=0.18215,
        )
        with torch.no_grad():
            network.quant_conv.weight[4:] = 0
            network.quant_conv.bias[4:] = -30
    return network


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> tuple[TrainExample, ...]:
    """Eight squares of the sample film."""
    folder, made = tmp_path_factory.mktemp("pictures"), []
    for number, frame in enumerate([frame for shot in range(4) for frame in list(frames(shot).values())[:2]]):
        side = min(frame.shape[:2])
        path = folder / f"{number}.png"
        path.write_bytes(encode_png(frame[:side, :side]))
        made.append(TrainExample(image=path, caption=f"luca, view {number}, in a harbour, in front of a blue boat"))
    return tuple(made)


@pytest.fixture(scope="module", autouse=True)
def checkout(tmp_path_factory):
    """Let sd-scripts be those whose U-Net has the model's widths."""
    try:
        TRAINERS.load("kohya")
    except MissingWeights as missing:
        pytest.skip(str(missing))
    folder = small_checkout(kohya_home.Checkout().path(), tmp_path_factory.mktemp("sd-scripts"), WIDTHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kohya_home.CHECKOUT_VARIABLE, str(folder))
        yield


def asked(base: Path, examples: tuple[TrainExample, ...], output: Path, **changes: object) -> TrainRequest:
    settings = TrainSettings.model_validate({**SETTINGS, **changes})
    output.mkdir(parents=True)
    return TrainRequest(name="luca", base=base, examples=examples, output=output, settings=settings, threads=1)


def native(request: TrainRequest) -> list[str]:
    return [sys.executable, "-m", "models.trainers.native", written(request)]


def diffusers(request: TrainRequest) -> list[str]:
    return [sys.executable, str(LOOP), written(request)]


def sd_scripts(request: TrainRequest, **more: object) -> list[str]:
    """Return their own command, without the child of ours that watches them, and without TensorBoard."""
    run = kohya_trainer.Run(request)
    run.prepare(LossLog(request.output / "loss.jsonl", 0))
    base = run.places.root / "base"
    options = kohya_config.configuration(request, base if base.is_dir() else request.base, run.places)
    del options["logging_dir"]
    path = run.places.root / "config.toml"
    path.write_text(kohya_config.toml_text({**options, **more}), encoding="utf-8")
    return [str(run.python), str(LAUNCHER), str(run.checkout), str(path)]


def written(request: TrainRequest) -> str:
    path = request.output / "request.json"
    path.write_text(request.model_dump_json(), encoding="utf-8")
    return str(path)


def trained(command: list[str], request: TrainRequest) -> None:
    """Train to the end."""
    log = request.output / "said.txt"
    with log.open("wb") as file:
        code = start(command, request, file.fileno()).wait()
    assert code == 0, log.read_text(encoding="utf-8")[-2000:]


def native_compiled(request: TrainRequest) -> list[str]:
    settings = request.settings.model_copy(update={"compile": True})
    return native(request.model_copy(update={"settings": settings}))


TRAINED_BY: dict[str, Callable[[TrainRequest], list[str]]] = {
    "native, compiled": native_compiled,
    "native": native,
    "sd-scripts, compiled": partial(sd_scripts, torch_compile=True, dynamo_backend="inductor"),
    "sd-scripts": sd_scripts,
    "diffusers' example": diffusers,
}


@pytest.mark.timeout(7200)
def test_cpu_seconds_a_step(base, examples, tmp_path):
    trainers: dict[str, Paced] = {}
    for name, command_of in TRAINED_BY.items():
        request = asked(base, examples, tmp_path / name, steps=1000)
        trainers[name] = Paced(command_of(request), request)
        trainers[name].step()  # one after the other: those that compile take minutes, in which others would run ahead
    steps: dict[str, list[float]] = {name: [] for name in trainers}
    try:
        for number in range(WARM + BLOCK * BLOCKS):
            for name, trainer in trainers.items():
                seconds = trainer.step()
                steps[name] += [seconds] if number >= WARM else []
    finally:
        for trainer in trainers.values():
            trainer.end()
    blocks = {
        name: [statistics.fmean(found[at : at + BLOCK]) for at in range(0, len(found), BLOCK)]
        for name, found in steps.items()
    }
    head = f"CPU s a step, median of {BLOCKS} blocks of {BLOCK} steps | least to most"
    print(f"\n| trainer | {head} | native takes of it | native, compiled |\n|---|---|---|---|---|")
    for name, found in blocks.items():
        spreads = [spread_of(blocks[ours], found) for ours in ("native", "native, compiled")]
        seconds = f"{statistics.median(found):.3f} | {min(found):.3f} to {max(found):.3f}"
        print(f"| {name} | {seconds} | {' | '.join(spreads)} |")


def spread_of(ours: list[float], theirs: list[float]) -> str:
    """Return the median of the blocks' ratios, the least and the most."""
    ratios = [mine / yours for mine, yours in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


@pytest.mark.timeout(7200)
def test_losses_from_the_same_start(base, examples, tmp_path):
    """Every timestep counts alike, so that a mean of few steps says something; each draws noise of its own."""
    changes = {"steps": CURVE, "min_snr_gamma": 0.0}
    mine, theirs = (asked(base, examples, tmp_path / name, **changes) for name in ("native", "sd-scripts"))
    begun = tmp_path / "begun.safetensors"
    adapter = Adapter(load_base(base, "float32"), mine.settings)
    save_kohya(begun, LoraWeights(from_peft(adapter.peft_states()[DENOISER], adapter.size), {}, {}))
    trained(native(mine), mine)
    logs = theirs.output / "kohya" / "logs"
    trained(sd_scripts(theirs, network_weights=str(begun), logging_dir=str(logs)), theirs)
    ours = [json.loads(line)["loss"] for line in (mine.output / "loss.jsonl").read_text().splitlines()]
    found = [loss for _, loss, _ in LossReader(logs, 1).new_steps()]
    assert len(ours) == len(found) == CURVE
    print("\n| steps | native | sd-scripts | difference ± standard error |\n|---|---|---|---|")
    for first in [*range(0, CURVE, SMOOTH), None]:
        part = slice(first, first + SMOOTH) if first is not None else slice(0, CURVE)
        one, other = statistics.fmean(ours[part]), statistics.fmean(found[part])
        apart = [mine - yours for mine, yours in zip(ours[part], found[part], strict=True)]
        error = statistics.stdev(apart) / len(apart) ** 0.5
        steps, figures = f"{(part.start or 0) + 1} to {part.stop}", f"{one:.4f} | {other:.4f}"
        print(f"| {steps} | {figures} | {100 * (one / other - 1):+.2f}% ± {100 * error / other:.2f}% |")
