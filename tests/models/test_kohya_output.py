"""kohya's trainer without sd-scripts: what is read of what they say, and of what they leave."""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from data_contracts.faults import InputFault, StageFault
from models.trainers import kohya_output as output
from models.trainers import kohya_states
from models.trainers.kohya_launch import option_faults
from models.trainers.kohya_losses import LossReader
from models.trainers.kohya_transforms import Compose, Normalize, ToTensor

BAR = "steps:  33%|███▎      | 8/24 [00:02<00:04,  3.80it/s{}]"
TRACE = ["Traceback (most recent call last):", "  File x, line 1, in train", "    loss.backward()"]


@pytest.mark.parametrize(
    ("end", "loss"), [("", None), (", avr_loss=0.123", 0.123), (", avr_loss=1e-5", 1e-5), (", avr_loss=inf", np.inf)]
)
def test_progress_is_read_of_the_bar_of_training_alone(end, loss):
    assert output.progress_of(BAR.format(end)) == output.Progress(8, loss)
    for other in ("validation steps:", "epoch validation steps:"):
        assert output.progress_of(BAR.format(end).replace("steps:", other)) is None
    assert output.progress_of("epoch is incremented. current_epoch: 0, epoch: 1") is None


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ("No data found. Please verify arguments (train_data_dir must", InputFault, "found no pictures: "),
        ("ignore subset with image_dir='train-x2': no images found / ", InputFault, "no pictures in train-x2"),
        ("No caption file found for 3 images. Training will continue", InputFault, "3 pictures have no caption"),
        ("Some weights of CLIPTextModel were not initialized from the model checkpoint at", StageFault, "CLIPText"),
        (BAR.format(", avr_loss=nan"), FloatingPointError, "loss nan at step 8"),
    ],
)
def test_what_sd_scripts_only_warn_of_ends_a_run(line, kind, says):
    with pytest.raises(kind, match=says):
        output.require_sound(line)
    output.require_sound(BAR.format(", avr_loss=0.1"))


@pytest.mark.parametrize(
    ("code", "lines", "kind", "says"),
    [
        (0, ["model saved."], StageFault, "wrote no LoRA"),
        (1, [*TRACE, "torch.OutOfMemoryError: CUDA out of memory. Tried"], StageFault, "lower batch"),
        (1, [*TRACE, "RuntimeError: NaN detected in latents: a.png"], StageFault, "code 1: RuntimeError: NaN detected"),
        (2, ["reel2lora refuses: sd-scripts know no option 'x'"], InputFault, "know no option 'x'"),
        (2, ["usage:", "train_network.py: error: unrecognized arguments: --x"], InputFault, "--x"),
        (1, [*TRACE, "voluptuous.error.MultipleInvalid: extra keys not allowed @ data['x']"], InputFault, "extra keys"),
        (-9, [""], StageFault, "code -9: they said nothing"),
    ],
)
def test_an_end_without_a_lora_says_why(code, lines, kind, says):
    fault = output.failure_of(code, lines)
    assert isinstance(fault, kind)
    with pytest.raises(kind, match=says):
        raise fault


def test_options_are_checked_against_the_parser_itself():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rates", type=float, nargs="*")
    parser.add_argument("--switch", action="store_true")
    parser.add_argument("--kind", choices=["a", "b"])
    parser.add_argument("--folder", type=Path)
    assert not option_faults(
        {"steps": 3, "rate": 1, "rates": [0.1], "switch": True, "kind": "a", "folder": "/x"}, parser
    )
    wrong = {"step": 3, "steps": 0.5, "rate": "1", "rates": [True], "switch": False, "kind": "c", "folder": []}
    faults = option_faults(wrong, parser)
    assert [fault.split(" = ")[0].split("option ")[-1] for fault in faults] == ["'step'", *list(wrong)[1:]]


def save_state(output: Path, step: int, value: float = 1.0) -> Path:
    """Write a state as accelerate does."""
    folder = output / f"lora-step{step:08}-state"
    folder.mkdir(parents=True)
    (folder / "train_state.json").write_text(json.dumps({"current_epoch": 1, "current_step": step}))
    save_file({"x": torch.full((4,), value)}, folder / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        torch.save({"step": step, "moments": torch.arange(100)}, folder / name)
    (output / f"lora-step{step:08}.safetensors").write_bytes(b"lora")
    return folder


@given(share=st.floats(0, 1, exclude_max=True), place=st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_a_state_that_a_kill_cut_short_is_never_gone_on_from(tmp_path_factory, share, place):
    output = tmp_path_factory.mktemp("states")
    whole, cut = save_state(output, 6), save_state(output, 12)
    assert kohya_states.latest_state(output, before=13) == kohya_states.SavedState(12, cut)
    names = ["train_state.json", "model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl"]
    file = cut / names[place]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert kohya_states.latest_state(output, before=13) == kohya_states.SavedState(6, whole)


def test_the_last_two_whole_states_are_kept_and_broken_weights_are_passed_over(tmp_path):
    for step in (6, 12, 18):
        save_state(tmp_path, step)
    save_state(tmp_path, 24, value=float("nan"))
    assert kohya_states.drop_old(tmp_path).step == 18
    assert sorted(path.name[9:17] for path in tmp_path.glob("*-state")) == ["00000012", "00000018", "00000024"]
    assert sorted(path.name[9:17] for path in tmp_path.glob("*.safetensors")) == ["00000012", "00000018", "00000024"]
    assert kohya_states.latest_state(tmp_path, before=18).step == 12
    assert kohya_states.latest_state(tmp_path / "none", before=18) is None


def record(step: int, tag: str, value: float) -> bytes:
    """Return a scalar as TensorBoard writes it: `wall_time`, `step`, `summary { value { tag, simple_value } }`."""
    inner = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    count = bytes([step & 0x7F | 0x80, step >> 7])
    event = b"\x09" + struct.pack("<d", 1e9) + b"\x10" + count + b"\x2a" + bytes([len(summary)]) + summary
    return struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4)


@given(cuts=st.lists(st.integers(0, 2000), max_size=6), batches=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_losses_are_read_once_however_the_file_grows(tmp_path_factory, cuts, batches):
    folder = tmp_path_factory.mktemp("logs") / "run"
    folder.mkdir()
    expected, data = [], b""
    for step in range(126, 131):
        losses = [step + part / 4 for part in range(batches)]
        for loss in losses:
            data += record(step, "loss/current", loss) + record(step, "loss/average", 9.0)
            data += record(step, "lr/textencoder", 0.25) + record(step, "lr/unet", 0.5) + record(step, "lr/group1", 0.5)
        expected.append((step, sum(losses) / batches, 0.5))
    reader, got = LossReader(folder.parent, batches), []
    for end in [*sorted(cuts), len(data)]:
        (folder / "events.out.tfevents.1").write_bytes(data[:end])
        got += reader.new_steps()
    assert got == expected


def test_the_transforms_are_torchvisions():
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    tensor = Compose([ToTensor(), Normalize([0.5], [0.5])])(picture)
    assert tensor.shape == (3, 4, 6)
    assert torch.allclose(tensor.permute(1, 2, 0), torch.from_numpy(picture).float() / 127.5 - 1, atol=1e-6)
