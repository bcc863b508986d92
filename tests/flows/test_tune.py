"""A search of settings: what it tries, when it ends a trial, and that a kill costs no finished trial."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial

from data_contracts.dataset import Dataset, write_rows
from data_contracts.digest import digest_of
from data_contracts.faults import InputFault
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.manifest import Manifest
from data_contracts.project_file import load_project
from data_contracts.records import Example
from data_contracts.training import TrainSettings
from flows.tuning.report import values_of
from flows.tuning.space import Space
from flows.tuning.study import PRESET, Pruned, Search, Watch, since_best, trained
from models.pictures import keep_bytes
from tests.killed import kill, wait_for
from tests.models.family_runs import tiny_examples
from tests.random_base import make_random_base
from tests.small_project import CONFIG, ROOT

PRESET_SETTINGS = {
    "rank": 2,
    "alpha": 1.0,
    "learning_rate": 1e-3,
    "text_encoder_learning_rate": 0.0,
    "steps": 6,
    "batch": 1,
    "resolution": 64,
    "warmup_steps": 1,
    "noise_offset": 0.0,
    "checkpoint_every": 2,
    "validate_every": 1,
    "validate_pictures": 1,
}
LORA = {"name": "luca", "type": "character", "subject": "luca", "trigger": "luca"}
RUN = """
import sys
from pathlib import Path
from tests.flows.test_tune import asked_in
from flows.tuning.report import report_search
from flows.tuning.study import search
asked = asked_in(Path(sys.argv[1]))
report_search(asked, search(asked, 3, 0))
"""


def asked_in(root: Path) -> Search:
    """Return the search of the data set that `make_tiny` has written into a folder."""
    from data_contracts.dataset import read_rows

    rows = read_rows(root / "examples/records.parquet", Example)
    config = TrainLoraConfig.model_validate({**LORA, "settings": PRESET_SETTINGS})
    work = root / "work"
    return Search(work, work / "tune" / "luca", Dataset(Example, root / "examples", rows), root / "base", config)


def make_tiny(root: Path, *, held_out: bool = True) -> Search:
    """Write a data set of two shots, one held out, and a base model of random weights."""
    files = root / "examples/files"
    files.mkdir(parents=True)
    rows = [
        Example(id=f"{n}", film="harbour", shot=f"harbour:s000{n}", frame=n, time_s=n, source_id="it",
                box=(0, 0, 80, 80), facets={}, image=keep_bytes(files, each.image.read_bytes(), "png"), mask=None,
                caption=each.caption, tokens=4, repeats=1, sharpness=1,
                split="held_out" if held_out and n == 1 else "train")
        for n, each in enumerate(tiny_examples(root))
    ]  # fmt: skip
    write_rows(root / "examples/records.parquet", rows)
    if not (root / "base").exists():
        make_random_base(root / "base")
    return asked_in(root)


def start(root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN, str(root)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_search_goes_on_without_training_a_finished_trial_again(tmp_path):
    asked = make_tiny(tmp_path)
    running = start(tmp_path)
    checkpoint = wait_for("work/tune/luca/train_lora/*/job/checkpoints/step-000002", tmp_path, running)
    kill(running)  # the trainer saves a checkpoint and ends
    saved = max(checkpoint.parent.glob("step-*"))
    inode = saved.stat().st_ino
    (preset,) = (tmp_path / "work/train_lora").glob("*/manifest.json")
    written = preset.stat().st_mtime_ns
    url = f"sqlite:///{tmp_path}/work/tune/luca/study.db"
    (name,) = optuna.get_all_study_names(url)
    before = optuna.load_study(study_name=name, storage=url)
    (first_trained,) = trained(before)
    (being_trained,) = before.get_trials(states=(TrialState.RUNNING,))

    resumed = start(tmp_path)
    if saved.name != "step-000006":
        following = (int(saved.name[5:]) // 2 + 1) * 2
        wait_for(f"{checkpoint.parent.relative_to(tmp_path)}/step-{following:06}", tmp_path, resumed)
        assert saved.stat().st_ino == inode, "the second trial began anew"
    output, _ = resumed.communicate(timeout=400)
    study = optuna.load_study(study_name=name, storage=url)
    assert len(trained(study)) == 3, output
    first, second, _ = trained(study)
    assert PRESET in first.user_attrs
    assert first.datetime_start == first_trained.datetime_start
    assert preset.stat().st_mtime_ns == written
    assert second.params == being_trained.params
    assert set(second.intermediate_values) == {1, 2, 3, 4, 5, 6}

    best = study.best_trial
    assert (tmp_path / "work/reports/tune-luca.png").stat().st_size > 5000
    assert "luca: 3 trials" in output
    result = tmp_path / "work/train_lora" / best.user_attrs["result"]
    assert Manifest.load(result) is not None
    if best.number:
        tree = yaml.safe_load((tmp_path / "work/tune/luca.yaml").read_text())
        train = tree["loras"]["luca"]["train"]
        settings = TrainSettings.model_validate({**PRESET_SETTINGS, **train})
        assert settings == asked.space.settings(best.params)
    assert not list((tmp_path / "work/tune/luca/train_lora").glob("*"))


def test_what_a_search_finds_is_what_the_project_then_trains(tmp_path):
    """Laid over the project file, the values give the very configuration that the trial had."""
    config = load_project(CONFIG).loras["luca"].train.model_copy(update={"by_size": True})
    asked = Search(tmp_path, tmp_path, Dataset(Example, tmp_path, ()), tmp_path, config)
    space = Space(config.settings.model_copy(update={"steps": 77}), 100)
    tried = space.settings({**space.values, "learning_rate": 1.2345678e-5, "rank": 8, "warmup_share": 0.1})
    found = yaml.safe_load(yaml.safe_dump(values_of(asked, tried)))
    assert found["loras"]["luca"]["by_size"] is False
    changes = {f"loras.luca.train.{key}": json.dumps(value) for key, value in found["loras"]["luca"]["train"].items()}
    again = load_project(CONFIG, {**changes, "loras.luca.by_size": "false"}).loras["luca"].train
    assert digest_of(again) == digest_of(asked.config_of(tried))


PRESETS = st.builds(
    lambda rank, share, rate, text, offset, steps: TrainSettings(
        rank=rank, alpha=min(1024, rank * share), learning_rate=rate, text_encoder_learning_rate=rate * text,
        noise_offset=offset, steps=steps, warmup_steps=steps // 10,
    ),
    st.sampled_from([1, 4, 16, 64, 128, 1024]), st.sampled_from([0.125, 0.5, 1.0, 2.0]), st.floats(1e-5, 0.5),
    st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 0.05, 0.2]), st.integers(1, 5000),
)  # fmt: skip


@given(preset=PRESETS, pictures=st.integers(1, 500), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_preset_is_in_the_space_and_all_that_is_proposed_can_be_trained(preset, pictures, seed):
    space = Space(preset, pictures)
    assert set(space.values) == set(space.distributions)
    for name, where in space.distributions.items():
        assert where._contains(where.to_internal_repr(space.values[name])), name
    assert space.objection(preset) == ""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    tried = space.settings(study.ask(space.distributions).params)  # valid, or this raises
    assert bool(tried.text_encoder_learning_rate) == bool(preset.text_encoder_learning_rate)
    assert (tried.steps, tried.seed, tried.validate_every) == (preset.steps, preset.seed, preset.validate_every)


def test_combinations_known_to_break_pictures_are_not_trained():
    preset = TrainSettings(rank=64, alpha=32, learning_rate=1e-4, steps=1000)
    space = Space(preset, 80)
    changed = {"full alpha": {"alpha_share": 1.0, "learning_rate": 1.1e-4},
               "too far": {"alpha_share": 0.8, "learning_rate": 3.9e-4},
               "by heart": {"rank": 128}}  # fmt: skip
    said = {name: space.objection(space.settings({**space.values, **values})) for name, values in changed.items()}
    assert "alpha nearly the rank" in said["full alpha"]
    assert "3 times the preset's" in said["too far"]
    assert "rank 128 for 80 pictures" in said["by heart"]
    assert not space.objection(space.settings({**space.values, "alpha_share": 1.0, "learning_rate": 0.9e-4}))


def complete(score: float, steps: tuple[int, ...] = (10, 20, 30)) -> optuna.trial.FrozenTrial:
    return create_trial(value=score, intermediate_values=dict.fromkeys(steps, score))


def test_a_trial_behind_the_median_is_ended_and_the_preset_never():
    study = optuna.create_study(pruner=MedianPruner(n_startup_trials=2, n_warmup_steps=15))
    study.add_trials([complete(score) for score in (0.5, 0.6, 0.7)])
    watch = Watch(study.ask(), may_prune=True)
    watch({"event": "validation", "step": 0, "held_out": 9.0})  # the base's
    watch({"event": "validation", "step": 10, "held_out": 0.9})  # early yet
    with pytest.raises(Pruned, match="behind the median at step 20"):
        watch({"event": "validation", "step": 20, "held_out": 0.8})
    preset = Watch(study.ask(), may_prune=False)
    preset({"event": "validation", "step": 20, "held_out": 5.0})
    preset({"event": "diverged", "step": 25})
    with pytest.raises(Pruned, match="diverged after step 3"):
        Watch(study.ask(), may_prune=True)({"event": "diverged", "step": 3})


def test_patience_counts_trials_since_the_best():
    pruned = create_trial(state=TrialState.PRUNED)
    assert since_best([complete(0.5), complete(0.4), pruned, complete(0.45)]) == 2
    assert since_best([complete(0.5)]) == since_best([]) == 0


def test_a_search_that_could_compare_nothing_is_refused(tmp_path):
    asked = make_tiny(tmp_path, held_out=False)
    with pytest.raises(InputFault, match="holds no picture back"):
        asked.require_measurable()
    blind = {**LORA, "settings": {**PRESET_SETTINGS, "validate_every": 0}}
    with pytest.raises(InputFault, match="validate_every: 0"):
        Search(
            tmp_path, tmp_path, asked.examples, asked.base, TrainLoraConfig.model_validate(blind)
        ).require_measurable()
    kohya = TrainLoraConfig.model_validate({**LORA, "trainer": "kohya", "settings": PRESET_SETTINGS})
    with pytest.raises(InputFault, match="'kohya' measures no held-out loss"):
        Search(tmp_path, tmp_path, asked.examples, asked.base, kohya).require_measurable()
    words = {**LORA, "settings": {**PRESET_SETTINGS, "rank": 0, "embedding_vectors": 2}}
    with pytest.raises(InputFault, match="rank: 0 trains no LoRA"):
        Search(
            tmp_path, tmp_path, asked.examples, asked.base, TrainLoraConfig.model_validate(words)
        ).require_measurable()
