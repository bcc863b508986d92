"""Make the `lite` base model: `python -m models.diffusion.lite_base --help`."""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers import AutoencoderKL, UNet2DConditionModel

from models.device import gpu_or_cpu
from models.diffusion import sd15
from models.diffusion.lite_base import FOLDER, autoencoder, critic, denoiser, language, reward
from models.diffusion.lite_base.export import export
from models.diffusion.lite_base.lesson import Lesson, make_lesson
from models.diffusion.lite_base.loop import Run
from models.diffusion.lite_base.measure import measure_autoencoder, measure_prompts
from models.stills import Stills, placed_heads, read_stills

app = typer.Typer(
    no_args_is_help=True, help="Make the lite base model: autoencoder, language, denoiser, critic, reward, export."
)

StillsFolder = Annotated[Path, typer.Option(help="captioned stills, made by samples/world/render_stills.py")]
HeadsFile = Annotated[Path, typer.Option(help="where their heads are, by samples/world/find_heads.py")]
GroupsFolder = Annotated[Path, typer.Option(help="groups of stills, made by samples/world/render_groups.py")]
BeginFolder = Annotated[Path | None, typer.Option("--begin", help="a pipeline whose networks are learnt on from")]
CompileFirst = Annotated[
    bool,
    typer.Option(
        "--compile", help="a minute or two of compiling, then a quarter less time a step; needs a C++ compiler"
    ),
]
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


@app.command("language")
def train_language(stills: StillsFolder, work: WorkFolder, begin: BeginFolder = None) -> None:
    """Teach the text encoder to read captions, and keep it in WORK/text_encoder."""
    training, held_out = read_stills(stills)
    device = _device()
    torch.manual_seed(language.SCHEDULE.seed)
    network = _networks(training, begin)
    network.to(device)
    loss = language.ReadingLoss(network, training.captions, language.SCHEDULE, device)
    Run("language", loss.learners, language.SCHEDULE, work / "language").train(loss)
    print(f"{loss.right(held_out.captions):.1%} of the questions about held-out captions")
    network.save_reading(work)


@app.command("denoiser")
def train_denoiser(
    stills: StillsFolder,
    heads: HeadsFile,
    work: WorkFolder,
    groups: GroupsFolder,
    begin: BeginFolder = None,
    compile_first: CompileFirst = False,
) -> None:
    """Train the U-Net on the latents of WORK/vae and the states of WORK/text_encoder, and keep it in WORK/unet."""
    training, _ = read_stills(stills)
    device = _device()
    lesson = _lesson(training + read_stills(groups, last=0)[0], heads, work)
    torch.manual_seed(denoiser.SCHEDULE.seed)
    network = _taught_to_read(training, begin, work).to(device)
    if compile_first:
        network.unet.compile()
    loss = denoiser.DenoiserLoss(network, lesson, denoiser.SCHEDULE, device)
    Run("denoiser", network.unet, denoiser.SCHEDULE, work / "denoiser").train(loss)
    network.unet.save_pretrained(work / "unet")


@app.command("critic")
def train_critic(stills: StillsFolder, heads: HeadsFile, work: WorkFolder, groups: GroupsFolder) -> None:
    """Teach the critic to read the latents of WORK/vae, and keep it in WORK/critic."""
    training, held_out = read_stills(stills)
    device = _device()
    shown = training + read_stills(groups, last=0)[0]
    lesson = _lesson(shown, heads, work)
    torch.manual_seed(critic.SCHEDULE.seed)
    network = critic.Critic(critic.classes_of(shown.stills)).to(device)
    loss = critic.CriticLoss(network, lesson, shown.stills, critic.SCHEDULE, device)
    Run("critic", network, critic.SCHEDULE, work / "critic").train(loss)
    unseen = _lesson(held_out, heads, work).latents[:, 0]
    print(json.dumps({name: round(share, 3) for name, share in loss.right(unseen, held_out.stills).items()}))
    critic.save(network, work / "critic")


@app.command("reward")
def train_by_reward(
    stills: StillsFolder, heads: HeadsFile, work: WorkFolder, groups: GroupsFolder, compile_first: CompileFirst = False
) -> None:
    """Train the U-Net of WORK on its own drawings, by what the critic misses, and keep it in WORK/rewarded."""
    training, _ = read_stills(stills)
    device = _device()
    shown = training + read_stills(groups, last=0)[0]
    lesson = _lesson(shown, heads, work)
    network = _taught_to_read(training, work, work).to(device)
    if compile_first:
        network.unet.compile()
    on_stills = denoiser.DenoiserLoss(network, lesson, reward.SCHEDULE, device)
    loss = reward.RewardLoss(on_stills, critic.load(work / "critic").to(device), shown.stills, reward.SCHEDULE)
    Run("reward", loss.learners, reward.SCHEDULE, work / "reward").train(loss)
    network.unet.save_pretrained(work / "rewarded")


@app.command("export")
def export_pipeline(stills: StillsFolder, work: WorkFolder, to: Annotated[Path, typer.Option()] = FOLDER) -> None:
    """Put the networks of WORK, the U-Net halfway to `reward`'s, together as a pipeline in half precision."""
    training, _ = read_stills(stills)
    network = _networks(training, work)
    network.unet = reward.mean_of(network.unet, UNet2DConditionModel.from_pretrained(work / "rewarded"))
    export(AutoencoderKL.from_pretrained(work / "vae"), network, to)


@app.command("measure")
def measure(
    stills: StillsFolder,
    base: Annotated[Path, typer.Option(help="the pipeline's folder")] = FOLDER,
    count: Annotated[int, typer.Option(min=0, help="held-out captions to draw; 0: only the autoencoder")] = 200,
    grid: Annotated[Path | None, typer.Option(help="where to put a picture of the first 32")] = None,
) -> None:
    """Measure the model on held-out stills: the autoencoder's PSNR, and what the world probe finds in its pictures."""
    _, held_out = read_stills(stills)
    model = sd15.load(base)
    figures = measure_autoencoder(model, held_out)
    if count:
        figures |= measure_prompts(model, held_out, count, grid)
    print(json.dumps(figures, indent=2))


def _networks(training: Stills, begin: Path | None) -> denoiser.Denoiser:
    """Return fresh networks, or those of the pipeline `begin`."""
    network = denoiser.Denoiser(denoiser.build_tokenizer(training.stills))
    if begin is not None:
        network.load(begin)
    return network


def _taught_to_read(training: Stills, begin: Path | None, work: Path) -> denoiser.Denoiser:
    """Return fresh networks, or those of `begin`, that read captions as WORK/text_encoder does."""
    network = _networks(training, begin)
    network.load_reading(work)
    return network


def _lesson(stills: Stills, heads: Path, work: Path) -> Lesson:
    """Return the lesson that the stills are in the latents of WORK/vae."""
    vae: Any = AutoencoderKL.from_pretrained(work / "vae").to(gpu_or_cpu()).eval()
    return make_lesson(vae, stills, placed_heads(stills.stills, heads))


def _device() -> torch.device:
    # Optimizer states of words that are seldom seen decay into denormal numbers, which a CPU is slow at: 0.63 to 0.43 s
    # a step. It is a state of the whole process, so only the program that owns it may set it.
    torch.set_flush_denormal(True)
    return gpu_or_cpu()


if __name__ == "__main__":
    app()
