"""One optimizer step: a batch disturbed, denoised, scored, and the adapter moved."""

from collections.abc import Mapping
from typing import Any

import torch

from data_contracts.training import TrainSettings
from models.diffusion.lora_file import AdapterSize
from models.diffusion.lora_stack import (
    TEXT_ENCODER_LAYERS,
    adapter_parameters,
    adapter_state,
    adapters_off,
    add_fresh_adapter,
    unet_layers,
)
from models.diffusion.objective import Objective, Prior, learning_rate_factor, offset_noise
from models.diffusion.sd15 import StableDiffusion, encode_prompts
from models.seeds import derived_seed
from models.trainers.examples import Draw, Prepared, draw

NAME = "trained"


class Adapter:
    """The LoRA being trained, inside the networks of `model`."""

    def __init__(self, model: StableDiffusion, settings: TrainSettings) -> None:
        self.model = model
        self.size = AdapterSize(settings.rank, settings.alpha, settings.conv_rank, settings.conv_alpha)
        self.trains_text_encoder = settings.text_encoder_learning_rate > 0
        self.networks: dict[str, Any] = {"unet": model.unet}
        if self.trains_text_encoder:
            self.networks["text_encoder"] = model.text_encoder
        changes = {
            "unet": (unet_layers(self.size), self.size),
            "text_encoder": (TEXT_ENCODER_LAYERS, AdapterSize(settings.rank, settings.alpha)),
        }
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(settings.seed, "adapter"))
            for key, network in self.networks.items():
                layers, size = changes[key]
                add_fresh_adapter(network, layers, NAME, size)
        if settings.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()

    def parameters(self, network: str) -> list[torch.nn.Parameter]:
        """Return the adapter's parameters in one network, none where it is not trained."""
        found = self.networks.get(network)
        return list(adapter_parameters(found, NAME).values()) if found is not None else []

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the adapter's values by network and parameter name."""
        return {
            f"{key}/{name}": value.data
            for key, network in self.networks.items()
            for name, value in adapter_parameters(network, NAME).items()
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the adapter to what `tensors` returned earlier."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    def peft_states(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the adapter of the U-Net and of the text encoder in PEFT's format, the latter perhaps empty."""
        text_encoder = self.networks.get("text_encoder")
        return adapter_state(self.model.unet, NAME), adapter_state(text_encoder, NAME) if text_encoder else {}


class Trainer:
    """Moves an adapter one step at a time; a step depends on its number, the adapter and the optimizer only."""

    def __init__(self, adapter: Adapter, prepared: Prepared, settings: TrainSettings) -> None:
        self.adapter = adapter
        self.prepared = prepared
        self.settings = settings
        self.objective = Objective(adapter.model.scheduler, settings.min_snr_gamma)
        groups: list[dict[str, Any]] = [
            {"params": adapter.parameters("unet"), "peak": settings.learning_rate},
            {"params": adapter.parameters("text_encoder"), "peak": settings.text_encoder_learning_rate},
        ]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._captions: dict[str, torch.Tensor] = {}
        if self.keeps_prior or not adapter.trains_text_encoder:
            self._captions = self._encode_captions()

    @property
    def keeps_prior(self) -> bool:
        """Whether what lies outside the masks is to stay as the base model draws it."""
        return self.prepared.masks is not None and self.settings.masked_prior > 0

    @property
    def learning_rate(self) -> float:
        """The U-Net's rate in the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, number: int) -> float:
        """Do step `number`, counted from 0, and return its mean loss.

        Raises:
            FloatingPointError: the loss of a picture is not a finite number.
        """
        settings = self.settings
        cycles = settings.cycles if settings.scheduler == "cosine" else None
        factor = learning_rate_factor(number, settings.steps, settings.warmup_steps, cycles)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        total = 0.0
        for part in range(settings.accumulate):
            losses = self._losses(number * settings.accumulate + part, number)
            mean = losses.mean() / settings.accumulate
            mean.backward()  # type: ignore[no-untyped-call]
            total += float(mean.detach())
        if settings.max_gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _losses(self, batch_number: int, step: int) -> torch.Tensor:
        """Return the losses (N,) of one batch."""
        model = self.adapter.model
        batch = draw(self.prepared, self.settings, batch_number, model.scheduler.config.num_train_timesteps)
        timesteps = batch.timesteps.to(model.device)
        latents = self.prepared.latents[batch.indices].to(model.device)
        noise = offset_noise(batch.noise, batch.offsets, self.settings.noise_offset).to(model.device)
        noisy = model.scheduler.add_noise(latents, noise, timesteps)
        masks = self.prepared.masks
        mask = None if masks is None else masks[batch.indices].to(model.device)
        low = self.settings.precision == "bfloat16"
        with torch.autocast(model.device.type, torch.bfloat16, enabled=low):
            states = self._states(batch)
            prediction = model.unet(noisy.to(states.dtype), timesteps, states).sample
            prior = self._prior(noisy, timesteps, batch) if self.keeps_prior else None
        target = self.objective.target(latents, noise, timesteps)
        losses = self.objective.losses(prediction, target, timesteps, mask, prior)
        self._require_finite(losses.detach(), batch, step)
        return losses

    def _prior(self, noisy: torch.Tensor, timesteps: torch.Tensor, batch: Draw) -> Prior:
        """Return what the base model says without the adapter."""
        states = self._base_states(batch)
        with torch.no_grad(), adapters_off(*self.adapter.networks.values()):
            prediction = self.adapter.model.unet(noisy.to(states.dtype), timesteps, states).sample
        return Prior(prediction, self.settings.masked_prior)

    def _states(self, batch: Draw) -> torch.Tensor:
        if self.adapter.trains_text_encoder:
            return encode_prompts(self.adapter.model, batch.captions)
        return self._base_states(batch)

    def _base_states(self, batch: Draw) -> torch.Tensor:
        return torch.stack([self._captions[caption] for caption in batch.captions]).to(self.adapter.model.device)

    def _encode_captions(self) -> dict[str, torch.Tensor]:
        """Return the states of all captions as the base model reads them."""
        captions = sorted({"", *(example.caption for example in self.prepared.examples)})
        with torch.no_grad(), adapters_off(*self.adapter.networks.values()):
            return {caption: encode_prompts(self.adapter.model, [caption])[0].cpu() for caption in captions}

    def _require_finite(self, losses: torch.Tensor, batch: Draw, step: int) -> None:
        broken = [place for place, loss in enumerate(losses.tolist()) if not torch.isfinite(torch.tensor(loss))]
        if broken:
            image = self.prepared.examples[batch.indices[broken[0]]].image
            message = (
                f"loss {losses[broken[0]].item()} at step {step + 1} on {image}: "
                f"lower learning_rate ({self.settings.learning_rate:g}), or look at the picture"
            )
            raise FloatingPointError(message)
