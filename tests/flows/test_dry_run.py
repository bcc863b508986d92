"""What the dry run makes of a project; `.ci/run` does the whole of it."""

import pytest

from data_contracts.dataset import Dataset
from data_contracts.project_file import load_project
from data_contracts.records import Place
from flows.checks.dry_run import called, made_small
from tests.small_project import CONFIG


def test_it_looks_at_seconds_in_which_somebody_is_seen_and_trains_one_step(tmp_path):
    project = made_small(load_project(CONFIG, {"workspace": str(tmp_path / "work")}))
    (part,) = project.films
    assert 0 < part.to_frame - part.from_frame <= 6 * 25
    assert {plan.train.settings.steps for plan in project.loras.values()} == {1}
    assert project.workspace == tmp_path / "work" / "dry-run"


@pytest.mark.parametrize(("subject", "names"), [("beach", ["beach", "kitchen"]), ("quay", ["quay", "quay"])])
def test_what_is_seen_is_called_the_subject_only_where_the_subject_is_not_seen(tmp_path, subject, names):
    of = {"film": "f", "shot": "f:s0", "frame": 1, "time_s": 0, "cluster": 0, "similarity": 1, "probability": 1}
    rows = [Place(id=f"p{n}", plate_id=f"p{n}", name=name, **of) for n, name in enumerate(("beach", "kitchen"))]
    assert [row.name for row in called(Dataset(Place, tmp_path, rows), "name", subject)] == names
