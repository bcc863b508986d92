"""Make the `lite` base model: `python -m models.diffusion.lite_base --help`."""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers import AutoencoderKL

from models.diffusion.lite_base import FOLDER, autoencoder, denoiser
from models.diffusion.lite_base.export import export
from models.diffusion.lite_base.loop import Run
from models.diffusion.lite_base.measure import measure_autoencoder, measure_prompts
from models.stills import read_stills

app = typer.Typer(no_args_is_help=True, help="Make the lite base model: autoencoder, then denoiser, then export.")

StillsFolder = Annotated[Path, typer.Option(help="captioned stills, made by samples/world/render_stills.py")]
WorkFolder = Annotated[Path, typer.Option(help="where checkpoints are kept; the same command goes on from them")]


@app.command("autoencoder")
def train_autoencoder(stills: StillsFolder, work: WorkFolder) -> None:
    """Train the autoencoder, and keep it in WORK/vae."""
    training, _ = read_stills(stills)
    device = _device()
    torch.manual_seed(autoencoder.SCHEDULE.seed)
    network: Any = autoencoder.build_autoencoder()
    network.to(device)
    run = Run("autoencoder", network, autoencoder.SCHEDULE, work / "autoencoder")
    run.train(autoencoder.AutoencoderLoss(network, training, autoencoder.SCHEDULE, device))
    network.to("cpu").eval()
    network.register_to_config(scaling_factor=autoencoder.latent_scale(network, training.pictures[:500]))
    network.save_pretrained(work / "vae")


@app.command("denoiser")
def train_denoiser(
    stills: StillsFolder,
    work: WorkFolder,
    begin: Annotated[Path | None, typer.Option(help="a pipeline whose networks are learnt on from")] = None,
) -> None:
    """Train U-Net and text encoder on the latents of WORK/vae, and keep them in WORK/unet and WORK/text_encoder."""
    training, _ = read_stills(stills)
    device = _device()
    vae: Any = AutoencoderKL.from_pretrained(work / "vae").to(device).eval()
    latents = denoiser.mirrored_latents(vae, training, device)
    tokenizer = denoiser.build_tokenizer(training.stills)
    torch.manual_seed(denoiser.SCHEDULE.seed)
    network = denoiser.Denoiser(tokenizer)
    if begin is not None:
        network.load(begin)
    network.to(device)
    lesson = denoiser.Lesson(latents, [still.caption for still in training.stills])
    loss = denoiser.DenoiserLoss(network, tokenizer, lesson, denoiser.SCHEDULE, device)
    Run("denoiser", network, denoiser.SCHEDULE, work / "denoiser").train(loss)
    network.save(work)


@app.command("export")
def export_pipeline(stills: StillsFolder, work: WorkFolder, to: Annotated[Path, typer.Option()] = FOLDER) -> None:
    """Put WORK's networks together as a Stable Diffusion pipeline in half precision."""
    training, _ = read_stills(stills)
    tokenizer = denoiser.build_tokenizer(training.stills)
    network = denoiser.Denoiser(tokenizer)
    network.load(work)
    export(AutoencoderKL.from_pretrained(work / "vae"), network, tokenizer, to)


@app.command("measure")
def measure(
    stills: StillsFolder,
    base: Annotated[Path, typer.Option(help="the pipeline's folder")] = FOLDER,
    count: Annotated[int, typer.Option(min=0, help="held-out captions to draw; 0: only the autoencoder")] = 200,
    grid: Annotated[Path | None, typer.Option(help="where to put a picture of the first 32")] = None,
) -> None:
    """Measure the model on held-out stills: the autoencoder's PSNR, and what the world probe finds in its pictures."""
    _, held_out = read_stills(stills)
    figures = measure_autoencoder(base, held_out)
    if count:
        figures |= measure_prompts(base, held_out, count, grid)
    print(json.dumps(figures, indent=2))


def _device() -> torch.device:
    # Optimizer states of words that are seldom seen decay into denormal numbers, which a CPU is slow at: 0.63 to 0.43 s
    # a step. It is a state of the whole process, so only the program that owns it may set it.
    torch.set_flush_denormal(True)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    app()
