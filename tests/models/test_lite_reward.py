"""The critic of the lite base model reads latents and resumes to the bit; by its reward drawings get better."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.faults import InputFault
from models.diffusion.lite_base import critic, denoiser, reward
from models.diffusion.lite_base.lesson import Lesson
from models.diffusion.lite_base.loop import Run, Schedule
from models.stills import Still

SHORT = Schedule(steps=30, batch=16, learning_rate=3e-3, seed=5, warmup=1, weight_decay=0.0)
CPU = torch.device("cpu")


def still_of(number, pose, expression, shot):
    caption = f"3d animation, a boy, {pose}, {expression} expression, on a beach, {shot}"
    about = {"pose": pose, "expression": expression, "shot": shot, "view": "front", "hair": "red", "style": "cap"}
    return Still(name=f"{number:06d}.jpg", caption=caption, kind="beach", empty=False, top="red", **about)


KINDS = [("walking", "sad", "close"), ("sitting", "angry", "close"), ("walking", "angry", "full")]


@pytest.fixture(scope="module")
def stills():
    return [still_of(number, *KINDS[number % 3]) for number in range(12)]


@pytest.fixture(scope="module")
def lesson(stills):
    """Latents that show each answer plainly: one pattern a kind, under noise."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(3, 1, 8, 16, 16, generator=generator)
    latents = patterns[[number % 3 for number in range(12)]] + 0.2 * torch.randn(12, 2, 8, 16, 16, generator=generator)
    return Lesson(latents, torch.ones(12, 2, 1, 16, 16), [still.caption for still in stills], [])


def taught(lesson, stills, folder, schedule=SHORT):
    torch.manual_seed(0)
    network = critic.Critic(critic.classes_of(stills))
    loss = critic.CriticLoss(network, lesson, stills, schedule, CPU)
    Run("critic", network, schedule, folder).train(loss)
    return network, loss


@pytest.fixture(scope="module")
def judge(lesson, stills, tmp_path_factory):
    network, _ = taught(lesson, stills, tmp_path_factory.mktemp("judge"))
    return network.eval()


def test_expressions_are_asked_for_in_close_ups_alone(stills):
    classes = critic.classes_of(stills)
    assert classes["pose"] == ["sitting", "walking"]
    wanted = critic.wanted_of(stills[:3], classes)
    names = list(classes)
    assert wanted[:, names.index("expression")].tolist() == [1, 0, critic.UNKNOWN]
    assert wanted[:, names.index("pose")].tolist() == [1, 0, 1]
    nobody = Still(name="000001.jpg", caption="a beach", kind="beach", empty=True)
    answered = critic.wanted_of([nobody], classes)[0].tolist()
    assert answered == [0 if name == "kind" else critic.UNKNOWN for name in names]


def test_the_critic_learns_to_read_and_comes_back_as_it_was(lesson, stills, judge, tmp_path):
    loss = critic.CriticLoss(judge, lesson, stills, SHORT, CPU)
    unseen = lesson.latents[:, 0] + 0.2 * torch.randn(12, 8, 16, 16, generator=torch.Generator().manual_seed(9))
    shares = loss.right(unseen, stills)
    assert min(shares[name] for name in ("pose", "expression", "shot")) == 1.0
    critic.save(judge, tmp_path)
    again = critic.load(tmp_path)
    for name, logits in judge(unseen).items():
        assert torch.equal(logits, again(unseen)[name])


def test_a_critic_that_is_missing_is_told_how_to_be_made(tmp_path):
    with pytest.raises(InputFault, match="lite_base critic"):
        critic.load(tmp_path)


def test_a_critic_stopped_half_way_ends_in_the_same_bytes_its_running_means_too(lesson, stills, tmp_path):
    schedule = replace(SHORT, steps=6)
    whole, _ = taught(lesson, stills, tmp_path / "whole", schedule)
    torch.manual_seed(1)
    stopped = critic.Critic(critic.classes_of(stills))
    loss = critic.CriticLoss(stopped, lesson, stills, schedule, CPU)
    torch.manual_seed(0)
    stopped.load_state_dict(critic.Critic(critic.classes_of(stills)).state_dict())

    def until_3(step):
        if step == 3:
            raise KeyboardInterrupt
        return loss(step)

    with pytest.raises(KeyboardInterrupt):
        Run("critic", stopped, schedule, tmp_path / "part").train(until_3)
    again, _ = taught(lesson, stills, tmp_path / "part", schedule)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_mean_lies_halfway():
    before, after = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    wanted = (before.weight + after.weight) / 2
    assert torch.allclose(reward.mean_of(before, after).weight, wanted)


@given(now=st.floats(0.001, 0.999), then=st.floats(0.001, 1.0), clean=st.floats(-3, 3), noise=st.floats(-3, 3))
def test_a_step_with_the_true_velocity_leads_to_the_same_picture_under_less_noise(now, then, clean, noise):
    def mixed(kept):
        return math.sqrt(kept) * clean + math.sqrt(1 - kept) * noise

    velocity = math.sqrt(now) * noise - math.sqrt(1 - now) * clean
    stay, add = reward.ddim_step(now, then)
    assert math.isclose(stay * mixed(now) + add * velocity, mixed(then), abs_tol=1e-6)


def test_the_slope_leads_a_drawing_to_what_its_caption_says(lesson, stills, judge, monkeypatch):
    monkeypatch.setattr(reward, "NEAR", 3)
    monkeypatch.setattr(reward, "STEPS", 4)
    torch.manual_seed(0)
    network = denoiser.Denoiser(denoiser.build_tokenizer(stills))
    schedule = Schedule(steps=8, batch=4, learning_rate=1e-4, seed=5)
    on_stills = denoiser.DenoiserLoss(network, lesson, schedule, CPU)
    loss = reward.RewardLoss(on_stills, judge, stills, schedule)
    before = float(loss(100).detach())
    assert before == float(loss(100).detach())
    optimizer = torch.optim.AdamW(loss.learners.parameters(), schedule.learning_rate)
    for _ in range(schedule.steps):
        loss(100).backward()
        torch.nn.utils.clip_grad_norm_(loss.learners.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss(100).detach()) < 0.5 * before
    assert not any(parameter.requires_grad for parameter in judge.parameters())


def test_a_rival_begins_with_what_the_critic_knows_and_learns_what_is_drawn(lesson, stills, judge):
    rival, latents = judge.rival().eval(), lesson.latents[:, 0]
    for name, logits in judge(latents).items():
        known = rival(latents)[name]
        assert torch.allclose(known[:, :-1], logits, atol=1e-4)
        assert not known[:, -1].any()
    wanted = critic.wanted_of(stills, rival.classes)
    drawn = critic.drawn_of(wanted, rival)
    full = [row for row, still in enumerate(stills) if still.shot == "full"]
    expression = list(rival.classes).index("expression")
    assert drawn[full, expression].unique().tolist() == [critic.UNKNOWN]
    assert {rival.classes["pose"][number] for number in drawn[:, list(rival.classes).index("pose")]} == {critic.DRAWN}
