"""The recipe of the lite base model: it learns, resumes to the bit, and its product opens as a pipeline."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

from data_contracts.faults import InputFault
from models.diffusion import sd15
from models.diffusion.drawing import Drawing
from models.diffusion.lite_base import FOLDER, autoencoder, denoiser, language, name_of_base
from models.diffusion.lite_base.export import export
from models.diffusion.lite_base.lesson import Group, Lesson
from models.diffusion.lite_base.loop import Run, Schedule
from models.diffusion.lite_base.measure import found_shares
from models.diffusion.lite_base.vary import vary_caption
from models.stills import Still, Stills

SHORT = Schedule(steps=6, batch=2, learning_rate=1e-3, seed=5, warmup=1)
CAPTIONS = [
    "3d animation, a boy with a yellow cap, wearing a purple shirt and red shorts, walking, sad expression, on a beach",
    "3d animation, empty scene, a room with white walls",
    "3d animation, a girl with brown long hair, jumping with arms raised, in a pine forest, full body, front view",
]


@pytest.fixture(scope="module")
def stills():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (3, 3, 128, 128), generator=generator, dtype=torch.uint8)
    kinds = ("beach", "room", "forest")
    lines = [
        Still(name=f"{number:06d}.jpg", caption=caption, kind=kind, empty=False)
        for number, (caption, kind) in enumerate(zip(CAPTIONS, kinds, strict=True))
    ]
    return Stills(pictures, lines)


def test_files_name_the_base_that_comes_along_and_others_as_their_folders_are_called():
    assert name_of_base(FOLDER) == "reel2lora-lite"
    assert name_of_base(Path("models") / FOLDER.name) == FOLDER.name
    assert name_of_base(Path("models/sd15.safetensors")) == "sd15.safetensors"


def lesson_of(spread):
    latents = spread * torch.randn(3, 2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    return Lesson(latents, torch.ones(3, 2, 1, 16, 16), CAPTIONS, [])


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))


def small_loss(network):
    def loss(step):
        values = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return (network(values) - values.sum(dim=1, keepdim=True)).square().mean()

    return loss


def test_the_rate_rises_stays_and_falls():
    schedule = Schedule(steps=100, batch=1, learning_rate=1.0, seed=0, warmup=10, fall=0.2)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:81] == [1.0] * 71
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert 0 < rates[-1] <= 0.05


def test_a_run_that_was_stopped_ends_in_the_same_bytes(tmp_path):
    schedule = Schedule(steps=100, batch=1, learning_rate=1e-2, seed=0, warmup=2)
    whole, stopped = small_network(), small_network()
    Run("whole", whole, schedule, tmp_path / "whole").train(small_loss(whole))

    def until_25(step):
        if step == 25:
            raise KeyboardInterrupt
        return small_loss(stopped)(step)

    with pytest.raises(KeyboardInterrupt):
        Run("part", stopped, schedule, tmp_path / "part").train(until_25)
    again = small_network()
    run = Run("part", again, schedule, tmp_path / "part")
    assert run.done == 24
    run.train(small_loss(again))
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    steps = [json.loads(line)["step"] for line in (tmp_path / "part" / "loss.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 101))


def test_a_run_can_be_lengthened_from_its_plateau_but_not_changed(tmp_path):
    schedule = Schedule(steps=40, batch=1, learning_rate=1e-2, seed=0, warmup=2)
    network = small_network()
    Run("run", network, schedule, tmp_path).train(small_loss(network))
    assert Run("longer", small_network(), replace(schedule, steps=80), tmp_path / "plateau").done == 30
    with pytest.raises(InputFault, match="other settings"):
        Run("other", small_network(), replace(schedule, learning_rate=1e-3), tmp_path)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    network = small_network()
    with pytest.raises(FloatingPointError, match="loss nan at step 1"):
        Run("run", network, SHORT, tmp_path).train(lambda _step: network(torch.full((1, 4), torch.nan)).mean())


def test_the_autoencoder_learns_from_crops_and_whole_pictures(stills, tmp_path):
    torch.manual_seed(0)
    network = autoencoder.build_autoencoder()
    loss = autoencoder.AutoencoderLoss(network, stills, SHORT, torch.device("cpu"))
    before = float(loss(0).detach())
    Run("autoencoder", network, SHORT, tmp_path).train(loss)
    assert float(loss(0).detach()) < before
    generator = torch.Generator().manual_seed(0)
    assert autoencoder.crop(torch.zeros(5, 3, 128, 128), generator).shape == (5, 3, 32, 32)
    latents = network.encode(torch.zeros(1, 3, 128, 128)).latent_dist.mode()
    assert latents.shape == (1, 8, 16, 16)


def test_questions_are_answered_by_the_captions_words():
    answers = language.answers_of(CAPTIONS)
    assert (answers["top"], answers["bottom"], answers["cap"]) == (["purple"], ["red"], ["yellow"])
    assert (answers["hair"], answers["style"], answers["wall"]) == (["brown"], ["long"], ["white"])
    assert (answers["place"], answers["pose"]) == (["beach", "forest", "room"], ["jumping", "walking"])
    assert language.answer_class(CAPTIONS[0], "expression", ["angry", "sad"]) == 2
    assert language.answer_class("", "expression", ["angry", "sad"]) == 0
    assert language.answer_class("3d animation, happy expression", "expression", ["angry", "sad"]) == 0


def test_the_text_encoder_learns_to_read(stills, tmp_path):
    torch.manual_seed(0)
    network = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    schedule = replace(SHORT, steps=25, batch=16)
    loss = language.ReadingLoss(network, CAPTIONS, schedule, torch.device("cpu"))
    before = loss.right(CAPTIONS)
    Run("language", loss.learners, schedule, tmp_path / "run").train(loss)
    assert before < 0.7
    assert loss.right(CAPTIONS) > 0.9
    network.save_reading(tmp_path)
    other = denoiser.Denoiser(network.tokenizer)
    other.load_reading(tmp_path)
    for one, two in zip(network.unet.add_embedding.parameters(), other.unet.add_embedding.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not any(parameter.requires_grad for parameter in other.text_encoder.parameters())


def test_a_reader_is_refused_where_it_cannot_be_listened_to(stills, tmp_path):
    network = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    with pytest.raises(InputFault, match="has no text_encoder/add_embedding"):
        network.load_reading(tmp_path)
    network.save_reading(tmp_path)
    network.unet = UNet2DConditionModel.from_config(dict(network.unet.config) | {"addition_embed_type": None})
    with pytest.raises(InputFault, match="not told the caption"):
        network.load_reading(tmp_path)


def test_captions_vary_but_keep_their_phrases_whole_and_in_order():
    generator = torch.Generator().manual_seed(0)
    seen = [vary_caption(CAPTIONS[0], generator) for _ in range(400)]
    phrases = CAPTIONS[0].split(", ")
    assert 20 < seen.count("") < 80
    assert 240 < seen.count(CAPTIONS[0]) < 320
    for caption in filter(None, seen):
        kept = caption.split(", ")
        assert [phrase for phrase in phrases if phrase in kept] == kept


def test_a_batch_meets_every_noise_level(stills):
    networks = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    loss = denoiser.DenoiserLoss(networks, lesson_of(0.0), replace(SHORT, batch=10), torch.device("cpu"))
    for number in range(5):
        times = loss._timesteps(torch.zeros(10, dtype=torch.bool), torch.Generator().manual_seed(number))
        assert sorted((times // 100).tolist()) == list(range(10))


def test_groups_of_poses_see_a_timestep_as_often_as_it_is_large(stills):
    networks = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    loss = denoiser.DenoiserLoss(networks, lesson_of(0.0), SHORT, torch.device("cpu"))
    times = loss._timesteps(torch.ones(400, dtype=torch.bool), torch.Generator().manual_seed(0)).double()
    assert times.shape == (400,)
    assert (times < 500).double().mean() == pytest.approx(0.25, abs=0.01)
    assert (times**2 / 1000).mean() == pytest.approx(500, abs=10)


def test_nobody_weighs_more_where_noise_hides_him(stills):
    networks = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    loss = denoiser.DenoiserLoss(networks, lesson_of(0.0), SHORT, torch.device("cpu"))
    times, captions = torch.tensor([999, 400, 0, 0]), ["a boy", "a boy", "a boy", ""]
    weights = loss._weights(torch.full((4, 1, 16, 16), 40.0), times, captions)[:, 0, 0, 0]
    assert float(weights[0]) < 3
    assert weights[1:].tolist() == [40.0, 40.0, 1.0], "a dropped caption does not say where somebody is"


def test_members_of_a_group_share_noise_and_timestep_and_nothing_else_does(stills):
    networks = denoiser.Denoiser(denoiser.build_tokenizer(stills.stills))
    latents = torch.arange(12.0)[:, None, None, None, None].expand(12, 2, 8, 16, 16)
    groups = [Group([0, 1, 2, 3, 4], by_pose=True), Group([5, 6, 7, 8, 9], by_pose=False)]
    lesson = Lesson(latents, torch.ones(12, 2, 1, 16, 16), CAPTIONS * 4, groups)
    loss = denoiser.DenoiserLoss(networks, lesson, replace(SHORT, batch=16), torch.device("cpu"))
    for number in range(20):
        rows, units, by_pose = loss._choose(torch.Generator().manual_seed(number))
        assert len(rows) == len(units) == 16
        grouped = [{row for row, unit in zip(rows, units.tolist(), strict=True) if unit == each} for each in range(3)]
        owners = [next(group for group in groups if members <= set(group.rows)) for members in grouped]
        assert all(len(members) == 4 for members in grouped)
        assert by_pose.tolist() == [*(group.by_pose for group in owners), *[False] * 4]
        assert sorted(units[12:].tolist()) == list(range(3, 7))
        assert set(rows[12:]) <= {10, 11}


def test_the_product_is_a_pipeline_that_draws_the_same_by_the_code_of_real_models(stills, tmp_path):
    tokenizer = denoiser.build_tokenizer(stills.stills)
    torch.manual_seed(0)
    network = denoiser.Denoiser(tokenizer)
    network.save_reading(tmp_path)
    network.load_reading(tmp_path)
    loss = denoiser.DenoiserLoss(network, lesson_of(1.0), SHORT, torch.device("cpu"))
    Run("denoiser", network.unet, SHORT, tmp_path / "run").train(loss)
    network.unet.save_pretrained(tmp_path / "unet")
    again = denoiser.Denoiser(tokenizer)
    again.load(tmp_path)
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "README.md").write_text("the card")
    autoencoder.build_autoencoder().save_pretrained(tmp_path / "vae")
    export(AutoencoderKL.from_pretrained(tmp_path / "vae"), again, folder)
    for path in folder.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()
    assert (folder / "README.md").read_text() == "the card"
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) < 40e6
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)  # as the card says
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline(CAPTIONS[0], num_inference_steps=1, height=128, width=128).images[0].size == (128, 128)
    model = sd15.load(folder)
    drawing = Drawing(2, 4.0, 128)
    one, other = (model.sample(CAPTIONS[:2], "", [1, 2], drawing) for _ in range(2))
    assert one[0].shape == (128, 128, 3)
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_shares_count_what_was_asked_for_where_it_can_be_seen():
    def still(number, **shown):
        return Still(name=f"{number:06d}.jpg", caption="x", empty=False, **{"kind": "beach", "shot": "full", **shown})

    def answer(**values):
        return {name: {value: 0.9, "something else": 0.1} for name, value in values.items()}

    stills = [
        still(0, expression="sad", pose="waving", top="red"),
        still(1, shot="close", expression="sad", pose="waving", top="white", stripe="red"),
        Still(name="000002.jpg", caption="x", kind="room", empty=True),
    ]
    answers = [
        answer(kind="beach", shot="full", pose="sitting", expression="angry", top="red"),
        answer(kind="beach", shot="close", pose="waving", expression="sad", top="red"),
        answer(kind="town", shot="full", pose="waving", expression="sad", top="red"),
    ]
    figures = found_shares(stills, answers)
    assert figures["kind"] == pytest.approx(2 / 3, abs=1e-3)
    assert (figures["pose"], figures["pose_pictures"]) == (0.5, 2)
    assert (figures["expression"], figures["expression_pictures"]) == (1.0, 1)
    assert (figures["top"], figures["top_pictures"]) == (1.0, 1)
