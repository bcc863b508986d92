"""Qwen-Image-Edit: learns from pairs of pictures, reads a prompt beside what is edited, and draws by editing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import QwenImageEditPipeline

from data_contracts.faults import InputFault
from data_contracts.training import TrainExample, TrainSettings
from models.diffusion import family_of, load_base, qwen_image_edit
from models.diffusion.drawing import Drawing
from models.diffusion.families import View
from models.diffusion.flow import size_shift
from models.diffusion.lora_file import AdapterSize, load_kohya
from models.diffusion.lora_stack import add_lora, set_lora_weights
from models.diffusion.patches import pack, unpack
from models.diffusion.qwen_image_edit import QUESTION, QUESTION_TOKENS, guided
from models.diffusion.qwen_keys import QWEN_EDIT_KEYS
from models.pictures import encode_png
from models.trainers.examples import prepare
from tests.models.family_runs import (
    SETTINGS,
    add_random_adapter,
    as_killed_after_the_first_checkpoint,
    left_by,
    moved,
    save_adapter,
    tiny_examples,
    train_in,
)
from tests.random_base import make_random_base
from tests.random_qwen_image import make_random_qwen_image_edit

SIZE = AdapterSize(4, 2.0)
CONTROLS = [np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8) for seed in (5, 6)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_qwen_image_edit(tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="module")
def model(base: Path) -> qwen_image_edit.QwenImageEdit:
    return qwen_image_edit.load(base, device="cpu")


def paired_examples(folder: Path) -> list[TrainExample]:
    """Write examples with what was edited into each."""
    made = []
    for number, example in enumerate(tiny_examples(folder)):
        path = folder / f"{number}-control.png"
        path.write_bytes(encode_png(CONTROLS[number]))
        made.append(example.model_copy(update={"control": path}))
    return made


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_in(folder / "run", base, paired_examples(folder), gradient_checkpointing=True)
    return folder / "run"


def views(*controls: np.ndarray) -> list[View]:
    return [View((64, 64), (0, 0), (64, 64), control) for control in controls]


def test_a_run_learns_and_its_file_says_so(run: Path, base: Path):
    assert family_of(base) == "qwen_image_edit"
    weights = load_kohya(run / "lora.safetensors", QWEN_EDIT_KEYS)
    assert weights.metadata["modelspec.architecture"] == "Qwen-Image-Edit/lora"
    assert sum(bool(module.up.any()) for module in weights.unet.values()) == 2 * 4
    assert not moved(run / "lora.safetensors")  # no key is called as kohya's are
    assert (run / "samples/step-000004-0.png").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(run: Path, base: Path, tmp_path: Path):
    copy = as_killed_after_the_first_checkpoint(run, tmp_path / "copy")
    train_in(copy, base, paired_examples(tmp_path), gradient_checkpointing=True)
    assert left_by(copy) == left_by(run)


def test_examples_must_say_what_was_edited_and_others_must_not(model, tmp_path: Path):
    config = TrainSettings.model_validate(SETTINGS)
    with pytest.raises(InputFault, match=r"0\.png has no control picture, but Qwen-Image-Edit edits pictures"):
        prepare(model, tiny_examples(tmp_path), config)
    other = load_base(make_random_base(tmp_path / "sd15"), device="cpu")
    with pytest.raises(InputFault, match=r"has a control picture, but SD 1\.x does not edit pictures"):
        prepare(other, paired_examples(tmp_path), config)
    missing = [paired_examples(tmp_path)[0].model_copy(update={"control": tmp_path / "none.png"})]
    with pytest.raises(InputFault, match=r"none\.png"):
        prepare(model, missing, config)
    with pytest.raises(InputFault, match="each of 1 prompts needs a control picture"):
        model.sample(["luca"], "", [1], Drawing(2, 3.0, 64))


def test_a_prompt_is_read_beside_what_is_edited(model):
    with torch.no_grad():
        told = model.encode_prompts(["luca", "luca"], views(*CONTROLS))
        again = model.encode_prompts(["luca"], views(CONTROLS[0]))
    assert torch.equal(told["states"][:1], again["states"])
    assert not torch.allclose(told["states"][0], told["states"][1], atol=1e-3)
    vision = model.pictures
    count = (64 // (vision.patch_size * vision.merge_size)) ** 2
    words = len(model.tokenizer(QUESTION.format("luca")).input_ids)
    assert told["states"].shape[1] == words - 1 + count - QUESTION_TOKENS


def test_the_question_is_that_of_diffusers():
    theirs = QwenImageEditPipeline.__init__.__code__.co_consts
    assert QUESTION in theirs
    assert QUESTION_TOKENS in theirs


def test_what_is_edited_is_seen_beside_the_noise(model):
    noisy = torch.randn((2, 16, 8, 8), generator=torch.Generator().manual_seed(7))
    shares = torch.tensor([0.4, 0.8])
    with torch.no_grad():
        told = model.encode_prompts(["luca", "luca"], views(*CONTROLS))
        control = model.describe(views(*CONTROLS))["control"]
        velocity = model.predict(noisy, shares, {**told, "control": control})
        tokens = model.transformer(
            hidden_states=torch.cat([pack(noisy), pack(control)], dim=1),
            timestep=shares,
            encoder_hidden_states=told["states"],
            img_shapes=[[(1, 4, 4), (1, 4, 4)]] * 2,
        ).sample
        other = model.predict(noisy, shares, {**told, "control": control.flip(0)})
    assert torch.equal(velocity, unpack(tokens[:, :16], 8, 8))
    assert not torch.allclose(velocity, other, atol=1e-4)


def test_pictures_depend_on_their_seed_and_on_what_is_edited(model):
    def drawn(seed: int, control: np.ndarray, guidance: float = 3.0) -> np.ndarray:
        return model.sample(["luca"], "blurry", [seed], Drawing(2, guidance, 64, (control,)))[0]

    one = drawn(1, CONTROLS[0])
    assert one.shape == (64, 64, 3)
    assert np.array_equal(one, drawn(1, CONTROLS[0]))
    others = drawn(2, CONTROLS[0]), drawn(1, CONTROLS[1]), drawn(1, CONTROLS[0], guidance=1.0)
    assert all(not np.array_equal(one, other) for other in others)


def test_guidance_keeps_each_token_as_long_as_it_was():
    towards, away = torch.randn(2, 16, 8, 8), torch.randn(2, 16, 8, 8)
    moved_to = guided(towards, away, 4.0)
    assert torch.allclose(pack(moved_to).norm(dim=-1), pack(towards).norm(dim=-1), atol=1e-4)
    assert torch.allclose(guided(towards, away, 1.0), towards, atol=1e-4)
    config = {"base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
    assert size_shift(config, 4096) == pytest.approx(calculate_shift(4096, 256, 8192, 0.5, 0.9))


def test_diffusers_own_loader_gives_the_output_of_the_adapter_in_memory(base: Path, tmp_path: Path):
    def denoised(model: qwen_image_edit.QwenImageEdit) -> torch.Tensor:
        noisy = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(7))
        seen = views(CONTROLS[0])
        with torch.no_grad():
            told = {**model.encode_prompts(["luca"], seen), **model.describe(seen)}
            return model.predict(noisy, torch.tensor([0.5]), told)

    model = qwen_image_edit.load(base, device="cpu")
    add_random_adapter(model, SIZE)
    path = save_adapter(model, SIZE, tmp_path / "lora.safetensors")
    theirs = qwen_image_edit.load(base, device="cpu")
    plain = denoised(theirs)
    state = QwenImageEditPipeline.lora_state_dict(path)
    QwenImageEditPipeline.load_lora_into_transformer(state, theirs.transformer)
    assert torch.equal(denoised(theirs), denoised(model))
    assert (denoised(model) - plain).abs().max() > 1e-2
    again = load_base(base, device="cpu")
    add_lora(again, path, "luca")
    set_lora_weights(again, {"luca": 1.0})
    assert torch.equal(denoised(again), denoised(model))
