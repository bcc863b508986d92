"""The search for stacking weights and the test of what it recommends, on a random base and LoRAs of random weights."""

import sys
from pathlib import Path

import pytest

from data_contracts.composition import FILE, Composition
from data_contracts.dataset import Dataset, read_rows
from data_contracts.faults import InputFault
from data_contracts.manifest import Manifest
from data_contracts.project import Project
from data_contracts.project_file import load_project
from data_contracts.results import StackPicture, WeightTrial
from data_contracts.stack_stages import ComposeLorasConfig, SearchWeightsConfig
from flows.stack_loras import stack_loras
from tasks.compose_loras import variants_of
from tasks.search_weights import objection, search_weights
from tasks.stack_weights import STARTUP
from tests.killed import finish, kill_after_pictures, pictures_in, start_script
from tests.random_base import make_random_base
from tests.small_project import CONFIG
from tests.tasks.two_loras import SAMPLING, SUBJECTS, loras_in

pytestmark = pytest.mark.slow  # each search loads the base model several times; CI's demo searches, too
SEARCH = SearchWeightsConfig(trials=7, seeds=2, steps=2)
RUN = """
import sys
from pathlib import Path
from data_contracts.stack_stages import ComposeLorasConfig, SearchWeightsConfig
from tasks.search_weights import search_weights
from tests.tasks.two_loras import loras_in
folder = Path(sys.argv[1])
sampling = ComposeLorasConfig.model_validate_json(sys.argv[2])
config = SearchWeightsConfig.model_validate_json(sys.argv[3])
search_weights(folder / "work", loras_in(folder / "loras"), folder / "base", "luca, in portorosso", sampling, config)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.mktemp("base") / "base")


def project_in(folder: Path, **search: str) -> Project:
    changes = {f"compose_loras.{key}": str(value) for key, value in {**SAMPLING, "seeds": 3, "pairs": "true"}.items()}
    changes |= {f"search_weights.{key}": str(value) for key, value in {"seeds": 2, "steps": 2, **search}.items()}
    return load_project(CONFIG, {**changes, "workspace": str(folder / "work")})


@pytest.fixture(scope="module")
def stacked(base, tmp_path_factory) -> tuple[Path, Dataset[StackPicture]]:
    folder = tmp_path_factory.mktemp("stacked")
    project = project_in(folder, trials="7")
    return project.workspace, stack_loras(project, loras_in(folder / "loras"), base)


def trials_in(workspace: Path) -> tuple[WeightTrial, ...]:
    (folder,) = (workspace / "search_weights").iterdir()
    return read_rows(folder / "records.parquet", WeightTrial)


def test_every_trial_is_kept_and_the_best_is_recommended(stacked):
    workspace, _ = stacked
    trials = trials_in(workspace)
    assert [trial.origin for trial in trials[:3]] == ["configured", "alike", "by_gain"]
    assert {trial.origin for trial in trials[3:]} == {"proposed"}
    assert len(trials) == 7
    assert trials[0].weights[0].weight == 1.0
    assert trials[0].weights[1].weight == 0.8
    assert all(trial.seeds == (100_001, 100_002) and len(trial.scores) == 2 for trial in trials)
    assert all(trial.score == pytest.approx(sum(trial.scores) / 2, abs=1e-4) for trial in trials)
    (best,) = (trial for trial in trials if trial.recommended)
    assert best.score == max(trial.score for trial in trials)
    assert sum(trial.best_in for trial in trials) == pytest.approx(1, abs=1e-3)
    assert len({trial.scores for trial in trials}) > 1  # weights do make a difference


def test_what_is_recommended_is_tested_on_other_seeds_beside_the_given_weights(stacked):
    workspace, pictures = stacked
    (best,) = (trial for trial in trials_in(workspace) if trial.recommended)
    sets = {row.variant: {each.lora: each.weight for each in row.weights} for row in pictures}
    assert sets["all"] == {each.lora: each.weight for each in best.weights}
    assert {row.seed for row in pictures} == {1, 2, 3}
    assert sets["without luca"] == {"portorosso": sets["all"]["portorosso"]}
    assert sets["luca + portorosso"] == {"luca": 1.0, "portorosso": 1.0}
    numbers = Composition.model_validate_json((pictures.folder / FILE).read_text())
    assert numbers.search.trials == 7
    for each in numbers.search.weights:
        assert each.weight == sets["all"][each.lora]
        assert each.low <= each.high
    if best.origin == "configured":
        assert "given" not in sets
        assert numbers.search.gain is None
    else:
        assert sets["given"] == {"luca": 1.0, "portorosso": 0.8}
        joint = {
            name: [
                (row.findings[0].probability * row.findings[1].probability) ** 0.5
                for row in pictures
                if row.variant == name
            ]
            for name in ("all", "given")
        }
        expected = sum(joint["all"]) / 3 - sum(joint["given"]) / 3
        assert numbers.search.gain.mean == pytest.approx(expected, abs=1e-4)
    assert {(each.of, each.by, each.where) for each in numbers.effects} == {
        (of, by, where) for of in SUBJECTS for by in SUBJECTS for where in ("alone", "pair", "stack")
    } - {(name, name, "pair") for name in SUBJECTS}
    assert "3 seeds are too few" in (pictures.folder / "composition.md").read_text()
    assert (pictures.folder / "interference.png").is_file()


def test_all_is_reused_and_other_test_seeds_do_not_search_again(stacked, base):
    workspace, pictures = stacked
    project = project_in(workspace.parent, trials="7")
    again = stack_loras(project, loras_in(workspace.parent / "loras"), base)
    assert again.folder == pictures.folder
    other = project.model_copy(update={"compose_loras": project.compose_loras.model_copy(update={"seeds": (9,)})})
    stack_loras(other, loras_in(workspace.parent / "loras"), base)
    assert len(list((workspace / "search_weights").iterdir())) == 1


def test_without_a_search_the_given_weights_are_stacked_and_the_reason_is_kept(base, tmp_path):
    project = project_in(tmp_path, trials="0")
    pictures = stack_loras(project, loras_in(tmp_path / "loras"), base)
    numbers = Composition.model_validate_json((pictures.folder / FILE).read_text())
    assert (numbers.search, numbers.not_searched) == (None, "search_weights.trials is 0")
    assert {row.variant for row in pictures} >= {"all", "without luca"}
    assert "given" not in {row.variant for row in pictures}
    assert (
        "No weights were searched for: search_weights.trials is 0." in (pictures.folder / "composition.md").read_text()
    )


def test_a_search_that_cannot_judge_says_why(tmp_path):
    members = [row for each in loras_in(tmp_path) for row in each]
    sampling = ComposeLorasConfig.model_validate(SAMPLING)
    assert objection(members, sampling, SEARCH) == ""
    assert objection(members[:1], sampling, SEARCH) == "one LoRA alone has nothing to be weighed against"
    assert "names no judge" in objection(members, sampling.model_copy(update={"judge": None}), SEARCH)
    strange = [members[0].model_copy(update={"subject": "nino"}), members[1]]
    assert objection(strange, sampling, SEARCH) == "judge 'world-probe' does not know 'nino', the subject of luca"


def test_seeds_of_the_search_are_not_those_of_the_test(tmp_path):
    assert SearchWeightsConfig(seeds=3).seeds == (100_001, 100_002, 100_003)
    with pytest.raises(InputFault, match="share 3: weights that are chosen by a seed look better on it"):
        project_in(tmp_path, trials="7", seeds="[3, 100]")
    with pytest.raises(InputFault, match="0 is no number of seeds"):
        project_in(tmp_path, trials="7", seeds="0")
    assert project_in(tmp_path, trials="0", seeds="[3, 100]").search_weights.seeds == (3, 100)


def test_of_two_loras_each_is_left_out_and_the_given_weights_are_drawn_where_others_are_recommended():
    given = {"luca": 1.0, "happy": 0.6}
    names = [variant.name for variant in variants_of(given, given)]
    assert names == ["base", "only luca", "only happy", "all", "without luca", "without happy"]
    names = [variant.name for variant in variants_of(given, {"luca": 0.5, "happy": 0.9}, pairs=True)]
    assert names[3:5] == ["given", "all"]
    assert names[-1] == "luca + happy"
    assert [variant.name for variant in variants_of({"luca": 1.0}, {"luca": 1.0})] == ["base", "only luca"]


@pytest.mark.timeout(280)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent died")
def test_a_killed_search_goes_on_and_draws_no_picture_twice(base, tmp_path):
    (tmp_path / "base").symlink_to(base)
    loras = loras_in(tmp_path / "loras")
    sampling = ComposeLorasConfig.model_validate({**SAMPLING, "seeds": SEARCH.seeds, "steps": 24})
    config = SEARCH.model_copy(update={"trials": STARTUP})
    asked = (str(tmp_path), sampling.model_dump_json(), config.model_dump_json())
    # 9: after those of each alone, among the first trials
    kept = kill_after_pictures(start_script(RUN, *asked), tmp_path / "work", 9)
    assert not list((tmp_path / "work").rglob("manifest.json"))
    finish(start_script(RUN, *asked))
    assert kept.items() < pictures_in(tmp_path / "work").items()
    undisturbed = search_weights(tmp_path / "again", loras, base, "luca, in portorosso", sampling, config)
    (folder,) = (tmp_path / "work" / "search_weights").iterdir()
    assert Manifest.load(folder).content_digest == undisturbed.content_digest
