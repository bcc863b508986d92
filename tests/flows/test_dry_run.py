"""What the dry run makes of a project; `.ci/run` does the whole of it."""

import pytest

from data_contracts.project_file import load_project
from flows.dry_run import made_small, with_subject
from tests.small_project import CONFIG


@pytest.fixture(autouse=True)
def _allowed(tmp_path, monkeypatch):
    monkeypatch.setenv("REEL2LORA_ALLOW", str(tmp_path))


def test_it_looks_at_seconds_in_which_somebody_is_seen_and_trains_one_step(tmp_path):
    project = made_small(load_project(CONFIG, {"workspace": str(tmp_path / "work")}))
    (part,) = project.films
    assert 0 < part.to_frame - part.from_frame <= 6 * 25
    assert {plan.train.settings.steps for plan in project.loras.values()} == {1}
    assert project.workspace == tmp_path / "work" / "dry-run"


def test_a_subject_that_the_clip_lacks_is_replaced_in_captions_and_training(tmp_path):
    project = load_project(CONFIG, {"workspace": str(tmp_path / "work")})
    changed = with_subject(project, "running", "waving").loras["running"]
    assert (changed.caption.subject, changed.train.subject) == ("waving", "waving")
    assert project.loras["running"].caption.subject == "running"
