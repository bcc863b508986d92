"""One optimizer step: a batch disturbed, denoised, scored, and the adapter moved."""

from collections.abc import Mapping
from typing import Any

import torch

from data_contracts.faults import InputFault
from data_contracts.training import TrainSettings
from models.diffusion.families import DENOISER, Conditioning, DiffusionModel, networks_of
from models.diffusion.key_formats import no_dora
from models.diffusion.lora_file import PEFT_MAGNITUDE, AdapterSize
from models.diffusion.lora_stack import adapter_parameters, adapter_state, adapters_off, add_fresh_adapter
from models.diffusion.objective import Prior, learning_rate_factor, offset_noise
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS
from models.seeds import derived_seed
from models.trainers.examples import Draw, Prepared, draw
from models.trainers.optimizers import OPTIMIZERS
from models.trainers.readings import Readings, seen
from models.trainers.team import Team
from models.trainers.trained_words import TrainedWords

NAME = "trained"


class Adapter:
    """The LoRA being trained, inside the networks of `model`, and what is learnt for the words of its trigger."""

    def __init__(self, model: DiffusionModel, settings: TrainSettings, trigger: str = "") -> None:
        """Add the adapter to the networks.

        Raises:
            InputFault: the settings ask for something to be trained that the family has not, or cannot keep.
        """
        self.model = model
        _require_writable(model, settings)
        wide = settings.conv_rank, settings.conv_alpha
        self.size = AdapterSize(settings.rank, settings.alpha, *wide, dora=settings.dora)
        self.networks: dict[str, Any] = {DENOISER: model.denoiser} if settings.rank else {}
        if settings.rank and settings.text_encoder_learning_rate:
            self.networks |= _trainable_encoders(model, settings)
        text_size = AdapterSize(settings.rank, settings.alpha, dora=settings.dora)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(settings.seed, "adapter"))
            for key, network in self.networks.items():
                if key == DENOISER:
                    add_fresh_adapter(network, model.layers(self.size), NAME, self.size)
                else:
                    add_fresh_adapter(network, TEXT_ENCODER_LAYERS, NAME, text_size)
        self.words = TrainedWords(model, trigger, settings) if settings.embedding_vectors else None
        if settings.gradient_checkpointing:
            model.denoiser.enable_gradient_checkpointing()

    @property
    def trains_reading(self) -> bool:
        """Whether prompts are read otherwise after each step: text encoders are trained, or words for them."""
        return self.words is not None or any(key != DENOISER for key in self.networks)

    def parameters(self, *, denoiser: bool, magnitudes: bool | None = None) -> list[torch.nn.Parameter]:
        """Return the adapter's parameters in the denoiser, or those in the text encoders.

        magnitudes: a DoRA's alone, or all but these; None: all.
        """
        return [
            parameter
            for key, network in self.networks.items()
            for name, parameter in adapter_parameters(network, NAME).items()
            if (key == DENOISER) == denoiser and magnitudes in {None, PEFT_MAGNITUDE in name}
        ]

    def groups(self, settings: TrainSettings) -> list[dict[str, Any]]:
        """Return what an optimizer moves, at which peak rate.

        Magnitudes and vectors of words do not decay, as the base's weights do not.
        """
        rates = {True: settings.learning_rate, False: settings.text_encoder_learning_rate}
        groups: list[dict[str, Any]] = [
            {"params": self.parameters(denoiser=denoiser, magnitudes=False), "peak": rate}
            for denoiser, rate in rates.items()
        ]
        groups += [
            {"params": self.parameters(denoiser=denoiser, magnitudes=True), "peak": rate, "weight_decay": 0.0}
            for denoiser, rate in rates.items()
        ]
        if self.words is not None:
            words = list(self.words.vectors.values())
            groups.append({"params": words, "peak": settings.embedding_learning_rate, "weight_decay": 0.0})
        return groups

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the adapter's values by network and parameter name."""
        return {
            f"{key}/{name}": value.data
            for key, network in self.networks.items()
            for name, value in adapter_parameters(network, NAME).items()
        } | dict(self.words.tensors() if self.words else {})

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the adapter to what `tensors` returned earlier."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    def peft_states(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the adapter of each network that is trained, in PEFT's format."""
        return {key: adapter_state(network, NAME) for key, network in self.networks.items()}


class Trainer:
    """Moves an adapter one step at a time; a step depends on its number, the adapter and the optimizer only."""

    def __init__(self, adapter: Adapter, prepared: Prepared, settings: TrainSettings, team: Team | None = None) -> None:
        self.adapter = adapter
        self.team = team or Team()
        self.prepared = prepared
        self.settings = settings
        self.objective = adapter.model.objective(settings)
        groups = adapter.groups(settings)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = OPTIMIZERS.load(settings.optimizer)(
            [group for group in groups if group["params"]],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        # Steps alone: what is validated or drawn would be compiled anew for its sizes.
        self._predict = torch.compile(adapter.model.predict) if settings.compile else adapter.model.predict
        read = self.keeps_prior or not adapter.trains_reading
        self._readings = Readings(adapter.model, prepared) if read else None

    @property
    def keeps_prior(self) -> bool:
        """Whether something is to stay as the base model draws it: outside the masks, or where nothing is asked for."""
        return self._keeps_outside or self.settings.blank_preservation

    @property
    def _keeps_outside(self) -> bool:
        return self.prepared.masks is not None and self.settings.masked_prior > 0

    @property
    def learning_rate(self) -> float:
        """The denoiser's rate in the last step; without a LoRA, that of the trigger's vectors."""
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
        total, fault = 0.0, None
        try:
            for part in self.team.passes(settings.accumulate):
                losses = self._losses(number * settings.accumulate + part, number)
                mean = losses.mean() / settings.accumulate
                mean.backward()  # type: ignore[no-untyped-call]
                total += float(mean.detach())
        except FloatingPointError as error:
            fault = error
        total = self.team.sum_losses(total, fault)
        self.team.sum_gradients(self.parameters)
        if settings.max_gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_gradient_norm)
        self.optimizer.step()
        if self.adapter.words is not None:
            self.adapter.words.keep_lengths()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _losses(self, batch_number: int, step: int) -> torch.Tensor:
        """Return the losses (N,) of one batch."""
        return self.losses(draw(self.prepared, self.settings, batch_number, self.objective), step)

    def losses(self, batch: Draw, step: int) -> torch.Tensor:
        """Return the losses (N,) of a batch, however it was drawn, in step `step`, counted from 0.

        Raises:
            FloatingPointError: one of them is not a finite number.
        """
        model, settings = self.adapter.model, self.settings
        timesteps = batch.timesteps.to(model.device)
        latents = self.prepared.latents_of(batch.indices).to(model.device)
        offset = settings.noise_offset if self.objective.offsets_noise else 0.0
        noise = offset_noise(batch.noise, batch.offsets, offset).to(model.device)
        noisy = self.objective.disturb(latents, noise, timesteps)
        blank = torch.tensor([settings.blank_preservation and not caption for caption in batch.captions])
        keeps = self._keeps_outside or bool(blank.any())
        blank = blank[:, None, None, None].to(model.device)
        masks = self.prepared.masks_of(batch.indices)
        mask = torch.ones_like(latents[:, :1]) if masks is None and keeps else masks
        mask = None if mask is None else mask.to(model.device) * ~blank
        low = settings.precision != "float32"
        with torch.autocast(model.device.type, torch.bfloat16, enabled=low):
            described = seen(model, self.prepared, batch)
            prediction = self._predict(noisy, timesteps, {**self._told(batch), **described})
            prior = None
            if self._readings is not None and keeps:
                with torch.no_grad(), adapters_off(*networks_of(model).values()):
                    base = self._predict(noisy, timesteps, {**self._readings.of(batch), **described})
                prior = Prior(base, torch.where(blank, 1.0, settings.masked_prior))
        target = self.objective.target(latents, noise, timesteps)
        losses = self.objective.losses(prediction, target, timesteps, mask, prior)
        self._require_finite(losses.detach(), batch, step)
        return losses

    def _told(self, batch: Draw) -> Conditioning:
        if self._readings is None or self.adapter.trains_reading:
            return self.adapter.model.encode_prompts(batch.captions)
        return self._readings.of(batch)

    def _require_finite(self, losses: torch.Tensor, batch: Draw, step: int) -> None:
        broken = [place for place, loss in enumerate(losses.tolist()) if not torch.isfinite(torch.tensor(loss))]
        if broken:
            image = self.prepared.examples[batch.indices[broken[0]]].image
            message = (
                f"loss {losses[broken[0]].item()} at step {step + 1} on {image}: "
                f"lower learning_rate ({self.settings.learning_rate:g}), or look at the picture"
            )
            raise FloatingPointError(message)


def _require_writable(model: DiffusionModel, settings: TrainSettings) -> None:
    if settings.dora and (fault := no_dora(model.keys)):
        raise InputFault(fault)


def _trainable_encoders(model: DiffusionModel, settings: TrainSettings) -> Mapping[str, Any]:
    if not model.text_encoders:
        message = (
            f"text_encoder_learning_rate is {settings.text_encoder_learning_rate:g}, but LoRAs of {model.keys.family} "
            "leave the text encoders as they are: set it to 0"
        )
        raise InputFault(message)
    return model.text_encoders
