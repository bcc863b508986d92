"""A LoRA trained as diffusers' `train_text_to_image_lora.py` does: `python diffusers_loop.py REQUEST.json`.

That example is in no package, so its loop is written anew here: pictures are read, encoded and their captions read
in every step, Accelerate prepares, accumulates and clips, and losses are gathered. What is trained is what a
`TrainRequest` says, and the same layers as ours: the example's own four a block would be fewer.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr
from peft import LoraConfig
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTextModel, CLIPTokenizer

from data_contracts.training import TrainExample, TrainRequest
from models.child import emit
from models.diffusion.lora_file import AdapterSize
from models.diffusion.unet_layers import unet_layers


class Pictures(Dataset):
    """Pixels (3, size, size) in -1..1 and tokens (77,)."""

    def __init__(self, examples: tuple[TrainExample, ...], size: int, tokenizer: CLIPTokenizer) -> None:
        self.examples, self.size = examples, size
        self.tokens = tokenizer(
            [example.caption for example in examples], padding="max_length", max_length=77, return_tensors="pt"
        ).input_ids

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        with Image.open(self.examples[index].image) as opened:
            picture = opened.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
        return {"pixels": pixels, "tokens": self.tokens[index]}


def train(request: TrainRequest) -> None:
    """Train, and tell each step as our trainers do."""
    settings, base = request.settings, request.base
    accelerator = Accelerator(gradient_accumulation_steps=settings.accumulate)
    scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
    text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder")
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae")
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    for network in (text_encoder, vae, unet):
        network.requires_grad_(requires_grad=False)
    layers = unet_layers(AdapterSize(settings.rank, settings.alpha))
    unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=layers))
    learnt = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    pictures = Pictures(request.examples, settings.resolution, tokenizer)
    loader = DataLoader(pictures, shuffle=True, batch_size=settings.batch, drop_last=True)
    rates = get_scheduler("constant", optimizer=optimizer)
    unet, optimizer, loader, rates = accelerator.prepare(unet, optimizer, loader, rates)
    step = 0
    while step < settings.steps:
        unet.train()
        for batch in loader:
            with accelerator.accumulate(unet):
                latents = vae.encode(batch["pixels"]).latent_dist.sample() * vae.config.scaling_factor
                noise = torch.randn_like(latents)
                noise += settings.noise_offset * torch.randn((len(latents), latents.shape[1], 1, 1))
                times = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),)).long()
                noisy = scheduler.add_noise(latents, noise, times)
                states = text_encoder(batch["tokens"], return_dict=False)[0]
                prediction = unet(noisy, times, states, return_dict=False)[0]
                errors = torch.nn.functional.mse_loss(prediction.float(), noise.float(), reduction="none")
                loss = (errors.mean(dim=(1, 2, 3)) * snr_weights(scheduler, times, settings.min_snr_gamma)).mean()
                told = accelerator.gather(loss.repeat(settings.batch)).mean().item()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(learnt, settings.max_gradient_norm)
                optimizer.step()
                rates.step()
                optimizer.zero_grad()
            step += 1
            emit("progress", step=step, steps=settings.steps, loss=told)
            if step == settings.steps:
                break


def snr_weights(scheduler: DDPMScheduler, times: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the weight of each timestep (N,): min(snr, gamma) / snr."""
    if not gamma:
        return torch.ones(len(times))
    snr = compute_snr(scheduler, times)
    return torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr


if __name__ == "__main__":
    train(TrainRequest.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")))
