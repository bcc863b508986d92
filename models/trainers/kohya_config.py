"""A `TrainRequest` in the words of kohya's sd-scripts (v0.10.1): their configuration."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.faults import InputFault
from data_contracts.training import TrainRequest, TrainSettings
from models.diffusion.clip_text import PART, parts
from models.exports import kohya as dataset_format
from models.seeds import derived_seed
from models.trainers.kohya_base import require_folder

OUTPUT_NAME = "lora"
OPTIMIZERS = {"adamw": ("AdamW", ["fused=True"]), "adamw8bit": ("AdamW8bit", [])}
"""What they call the optimizers, and with which arguments these are what the native trainer has."""
NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Places:
    """Where sd-scripts read and write for one request."""

    root: Path

    @property
    def dataset(self) -> Path:
        """Pictures, texts and `dataset.toml`; what they are started in."""
        return self.root / "dataset"

    @property
    def output(self) -> Path:
        """Their LoRA, their states and their sample pictures."""
        return self.root / "output"

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.root / "logs"

    @property
    def tokenizers(self) -> Path:
        """Their cache of tokenizers, so that none is fetched."""
        return self.root / "tokenizers"

    @property
    def prompts(self) -> Path:
        """What sample pictures show."""
        return self.root / "prompts.json"


def configuration(request: TrainRequest, base: Path, places: Places) -> dict[str, Any]:
    """Return sd-scripts' options for a request, of a base that `kohya_base` prepared.

    Raises:
        InputFault: sd-scripts have no equal of a setting, or of the base model's noise.
    """
    settings = request.settings
    refuse_unknown(settings)
    trains_text = settings.text_encoder_learning_rate > 0
    options: dict[str, Any] = {
        "pretrained_model_name_or_path": str(base),
        "tokenizer_cache_dir": str(places.tokenizers),
        "dataset_config": str(places.dataset / dataset_format.TOML),
        "output_dir": str(places.output),
        "output_name": OUTPUT_NAME,
        "logging_dir": str(places.logs),
        "console_log_simple": True,
        "network_module": "networks.lora",
        "network_dim": settings.rank,
        "network_alpha": settings.alpha,
        "learning_rate": settings.learning_rate,
        "unet_lr": settings.learning_rate,
        "max_train_steps": settings.steps,
        "gradient_accumulation_steps": settings.accumulate,
        "optimizer_type": OPTIMIZERS[settings.optimizer][0],
        "optimizer_args": [f"weight_decay={settings.weight_decay}", *OPTIMIZERS[settings.optimizer][1]],
        "max_grad_norm": settings.max_gradient_norm,
        "mixed_precision": "bf16" if settings.precision == "bfloat16" else "no",
        "save_precision": "float",
        "no_half_vae": True,  # pictures are encoded once: precision costs next to nothing there
        "cache_latents": True,
        "sdpa": True,
        "max_data_loader_n_workers": 0,  # with cached latents there is nothing left for them to do
        "seed": settings.seed,
        "save_every_n_steps": checkpoint_steps(settings),
        "save_state": True,
        **_schedule(settings),
        **({"text_encoder_lr": [settings.text_encoder_learning_rate]} if trains_text else {}),
        **_samples(settings, places),
    }
    switches = {
        "network_train_unet_only": not trains_text,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "v_parameterization": prediction_type(base) == "v_prediction",
    }
    options |= {key: True for key, on in switches.items() if on}
    numbers = {"min_snr_gamma": settings.min_snr_gamma, "noise_offset": settings.noise_offset}
    options |= {key: value for key, value in numbers.items() if value}
    if settings.clip_skip > 1:
        options["clip_skip"] = settings.clip_skip
    if settings.conv_rank:
        options["network_args"] = [f"conv_dim={settings.conv_rank}", f"conv_alpha={settings.conv_alpha}"]
    return options


def resumption(settings: TrainSettings, state: Path, step: int) -> dict[str, Any]:
    """Return the options that go on from a state that was saved after `step` optimizer steps.

    sd-scripts multiply the initial step by the accumulated batches and take the product for optimizer steps.
    """
    return {"resume": str(state), "initial_step": step // settings.accumulate, "skip_until_initial_step": True}


def token_length(longest: int) -> dict[str, Any]:
    """Return the option by which sd-scripts read texts of up to `longest` tokens, ends included; 77 need none."""
    count = parts(longest)
    return {"max_token_length": count * PART} if count > 1 else {}


def checkpoint_steps(settings: TrainSettings) -> int:
    """Return the steps between states: whole multiples of `accumulate` are what `resumption` can go on from."""
    return -(-settings.checkpoint_every // settings.accumulate) * settings.accumulate


def require_possible(base: Path, settings: TrainSettings) -> None:
    """Refuse what sd-scripts cannot do, before anything is made ready for them.

    Raises:
        InputFault: they cannot read the base model, know no equal of its noise, or would train something else than the
            settings say.
    """
    require_folder(base)
    prediction_type(base)
    refuse_unknown(settings)


def refuse_unknown(settings: TrainSettings) -> None:
    """Refuse settings that sd-scripts have no equal of.

    Raises:
        InputFault: they would train something else than the settings say.
    """
    nothing_alike = (
        (
            settings.choose != "last" or settings.patience,
            f"choose is {settings.choose!r} and patience {settings.patience}",
            "validate nothing",
            "'last' and 0",
        ),
        (settings.dora, "dora is on", "train no DoRA", "dora to false"),
        (settings.blank_preservation, "blank_preservation is on", "preserve nothing", "blank_preservation to false"),
        (settings.compile, "compile is on", "were not tried compiled", "compile to false"),
        (settings.processes > 1, f"processes is {settings.processes}", "share no step's passes", "processes to 1"),
        (settings.ema, f"ema is {settings.ema:g}", "average no weights", "ema to 0"),
        (
            settings.embedding_vectors,
            f"embedding_vectors is {settings.embedding_vectors}",
            "train embeddings apart from LoRAs",
            "embedding_vectors to 0",
        ),
        (
            settings.precision == "nf4",
            "precision is nf4",
            "hold no Stable Diffusion in 4 bits",
            "precision to bfloat16",
        ),
        (
            settings.masked_loss and settings.masked_prior,
            f"masked_prior is {settings.masked_prior:g}",
            "know nothing like it",
            "masked_prior to 0, with which parts of the subject appear everywhere",
        ),
    )
    for asked, value, theirs, instead in nothing_alike:
        if asked:
            message = f"{value}, but kohya's sd-scripts {theirs}: train with `trainer: native`, or set {instead}"
            raise InputFault(message)


def differences(settings: TrainSettings) -> list[str]:
    """Return where sd-scripts do otherwise than the native trainer with the same settings."""
    found = [
        "latents are drawn from the encoder's distribution; native takes its mean",
        "pictures are shuffled over the whole run; native shuffles each pass over them",
        "a resumed run ends close to an uninterrupted one, not in the same bytes",
        "where a text has more than 77 tokens, all are read in as many parts, without the ends between these",
    ]
    if settings.masked_loss:
        found.append("a small mask counts less than a large one; native divides by the mask's area")
    if checkpoint_steps(settings) != settings.checkpoint_every:
        found.append(f"states are saved every {checkpoint_steps(settings)} steps, a multiple of accumulate")
    return found


def prediction_type(base: Path) -> str:
    """Return what the base model's U-Net predicts.

    Raises:
        InputFault: it was trained on other noise than sd-scripts know.
    """
    scheduler = json.loads((base / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    for key, value in NOISE.items():
        if scheduler.get(key, value) != value:
            message = f"the base model has {key} {scheduler[key]}, sd-scripts always {value}: use `trainer: native`"
            raise InputFault(message)
    return str(scheduler.get("prediction_type", "epsilon"))


def write_prompts(request: TrainRequest, places: Places) -> None:
    """Write what the sample pictures show."""
    settings = request.settings
    prompts = [
        {
            "prompt": prompt.replace("{trigger}", request.trigger),
            "width": settings.resolution,
            "height": settings.resolution,
            "sample_steps": settings.sample_steps,
            "scale": settings.sample_guidance,
            "seed": derived_seed(settings.seed, "sample", number),
        }
        for number, prompt in enumerate(settings.sample_prompts)
    ]
    places.prompts.write_text(json.dumps(prompts, indent=1), encoding="utf-8")


def toml_text(options: dict[str, Any]) -> str:
    """Return a configuration file; strings, numbers, lists and truth values are written alike in JSON and TOML."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in options.items())


def _schedule(settings: TrainSettings) -> dict[str, Any]:
    warm = {"lr_warmup_steps": settings.warmup_steps}
    if settings.scheduler == "constant":
        return {"lr_scheduler": "constant_with_warmup" if settings.warmup_steps else "constant", **warm}
    if settings.cycles == 1:
        return {"lr_scheduler": "cosine", **warm}
    return {"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": settings.cycles, **warm}


def _samples(settings: TrainSettings, places: Places) -> dict[str, Any]:
    if not settings.sample_every:
        return {}
    return {
        "sample_every_n_steps": settings.sample_every,
        "sample_prompts": str(places.prompts),
        "sample_sampler": "dpmsolver++",
    }
