"""What a LoRA file says of itself, so that other programs and people know what it is."""

import json

from data_contracts.training import TrainRequest, TrainSettings
from models.diffusion.lite_base import name_of_base
from models.diffusion.lora_file import SD1_KEYS, KeyFormat

SPECIFICATION = "1.0.0"
DORA_MODULE = "lycoris.kohya"
"""LyCORIS, whose form DoRAs are written in: kohya's own network modules know none."""
OPTIMIZERS = {"adamw": "torch.optim.adamw.AdamW", "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit"}


def lora_metadata(request: TrainRequest, prediction_type: str, keys: KeyFormat = SD1_KEYS) -> dict[str, str]:
    """Return kohya's `ss_*`, Stability's `modelspec.*` and our `reel2lora.*` keys; no dates, so that bytes repeat.

    `reel2lora.*` holds the request's own metadata and the training settings as JSON.
    """
    return {
        **_kohya(request, keys),
        **_modelspec(request, prediction_type, keys),
        **{f"reel2lora.{key}": value for key, value in request.metadata.items()},
        "reel2lora.settings": request.settings.model_dump_json(),
        "reel2lora.trigger": request.trigger,
    }


def embedding_metadata(request: TrainRequest, prediction_type: str, keys: KeyFormat) -> dict[str, str]:
    """Return the same of the vectors that were learnt for a trigger: `reel2lora.trigger` is what they are read for."""
    said = lora_metadata(request, prediction_type, keys)
    kept = {key: value for key, value in said.items() if not key.startswith("ss_network_")}
    return {**kept, "modelspec.architecture": keys.architecture.replace("/lora", "/textual-inversion")}


def _kohya(request: TrainRequest, keys: KeyFormat) -> dict[str, str]:
    settings = request.settings
    values: dict[str, object] = {
        "ss_output_name": request.name,
        "ss_network_module": DORA_MODULE if settings.dora else keys.network_module,
        "ss_network_dim": settings.rank,
        "ss_network_alpha": settings.alpha,
        "ss_network_args": _network_args(settings),
        "ss_base_model_version": keys.base_version,
        "ss_sd_model_name": name_of_base(request.base),
        "ss_v2": False,
        "ss_learning_rate": settings.learning_rate,
        "ss_unet_lr": settings.learning_rate,
        "ss_text_encoder_lr": settings.text_encoder_learning_rate or None,
        "ss_lr_scheduler": settings.scheduler,
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_optimizer": OPTIMIZERS[settings.optimizer],
        "ss_max_train_steps": settings.steps,
        "ss_steps": settings.steps,
        "ss_num_train_images": sum(example.repeats for example in request.examples),
        "ss_total_batch_size": settings.batch,
        "ss_gradient_accumulation_steps": settings.accumulate,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_resolution": f"({settings.resolution}, {settings.resolution})",
        "ss_mixed_precision": "no" if settings.precision == "float32" else "bf16",
        "ss_min_snr_gamma": settings.min_snr_gamma or None,
        "ss_noise_offset": settings.noise_offset or None,
        "ss_caption_dropout_rate": settings.caption_dropout,
        "ss_caption_tag_dropout_rate": settings.caption_tag_dropout,
        "ss_max_grad_norm": settings.max_gradient_norm,
        "ss_seed": settings.seed,
        "ss_clip_skip": settings.clip_skip if settings.clip_skip > 1 else None,
    }
    return {key: str(value) for key, value in values.items()}


def _network_args(settings: TrainSettings) -> str | None:
    wide = {"conv_dim": str(settings.conv_rank), "conv_alpha": str(settings.conv_alpha)} if settings.conv_rank else {}
    dora = {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"} if settings.dora else {}
    return json.dumps(wide | dora) if wide or dora else None


def _modelspec(request: TrainRequest, prediction_type: str, keys: KeyFormat) -> dict[str, str]:
    return {
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.architecture": keys.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": request.name,
        "modelspec.trigger_phrase": request.trigger,
        "modelspec.resolution": f"{request.settings.resolution}x{request.settings.resolution}",
        **_prediction(prediction_type),
    }


def _prediction(kind: str) -> dict[str, str]:
    """Return what a noise predictor says; of flows the specification says nothing."""
    names = {"epsilon": "epsilon", "v_prediction": "v"}
    return {"modelspec.prediction_type": names[kind]} if kind in names else {}
