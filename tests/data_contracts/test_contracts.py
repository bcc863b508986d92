"""The contracts on paper and in code are the same; project files are read or refused with reasons."""

import shutil
from pathlib import Path

import pytest
import yaml

from data_contracts.digest import digest_of
from data_contracts.faults import InputFault
from data_contracts.json_schemas import FOLDER, schemas
from data_contracts.project_file import load_project, workspace_of

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_json_schemas_are_those_of_the_code():
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert written == schemas(), "the contracts changed: look at the difference, then `make schemas`"


def test_the_sample_project_is_complete():
    project = load_project(CONFIGS / "luca.yaml")
    assert list(project.loras) == ["luca", "portorosso", "running", "happy"]
    assert project.loras["luca"].train.settings.rank == 16
    assert project.loras["happy"].caption.trigger == "happy expression"
    assert project.identify_characters.references["gia"][0].name == "gia.png"


def test_a_change_replaces_one_value():
    project = load_project(CONFIGS / "luca.yaml", {"loras.luca.train.steps": "70", "extract_frames.every_s": "2"})
    assert project.loras["luca"].train.settings.steps == 70
    assert project.extract_frames.every_s == 2
    assert project.loras["happy"].train.settings.steps != 70


def test_seeds_are_a_list_or_how_many():
    project = load_project(CONFIGS / "luca.yaml", {"compose_loras.seeds": "3", "loras.luca.evaluate.seeds": "[7, 5]"})
    assert project.compose_loras.seeds == (1, 2, 3)
    assert project.loras["luca"].evaluate.seeds == (7, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"compose_loras.seeds": "0"}, ["luca.yaml", "compose_loras.seeds", "0 is no number of seeds", "1 to 10000"]),
        ({"compose_loras.seeds": "[4, 4]"}, ["luca.yaml", "compose_loras.seeds", "the seed '4' occurs twice"]),
        ({"extract_frames.every_s": "-1"}, ["luca.yaml", "extract_frames.every_s", "-1", "greater than 0"]),
        ({"extract_frames.every_s": "soon"}, ["luca.yaml", "extract_frames.every_s", "'soon'", "number"]),
        ({"extract_frames.evry_s": "1"}, ["luca.yaml", "extract_frames.evry_s", "unknown key"]),
        ({"colour": "red"}, ["luca.yaml", "colour", "unknown key"]),
        ({"loras.luca.train.stps": "3"}, ["luca.yaml", "loras.luca.train.stps", "unknown key"]),
        ({"loras.luca.type": "hero"}, ["loras.luca.type", "'hero'", "character"]),
        ({"loras.luca.colour": "red"}, ["loras.luca.colour", "unknown key"]),
        ({"films": "[nope.mp4]"}, ["luca.yaml", "films.0", "'nope.mp4'", "does not exist"]),
        ({"films": "3"}, ["luca.yaml", "films", "3", "list"]),
        ({"films": "[]"}, ["luca.yaml", "films"]),
        ({"workspace": "../../elsewhere"}, ["workspace", "leaves the project's folder", "--allow-folder"]),
        ({"characters.luca.references": "[../../x.png]"}, ["characters.luca.references", "leaves"]),
        ({"characters.luca.hair": "brown"}, ["characters.luca.hair", "unknown key"]),
        ({"profile": "huge"}, ["'huge'", "lite"]),
        ({"profile": "sd15-16gb"}, ["luca.yaml", "base", "is required"]),
        ({"compose_loras.weights": "{character: 9}"}, ["compose_loras.weights", "0..2"]),
        ({"name": "Two Words"}, ["luca.yaml", "name", "'Two Words'"]),
    ],
)
def test_a_fault_names_file_key_value_and_rule(change, words):
    with pytest.raises(InputFault) as fault:
        load_project(CONFIGS / "luca.yaml", change)
    for word in words:
        assert word in str(fault.value)
    assert fault.value.exit_code == 2


def test_all_faults_come_in_one_message():
    with pytest.raises(InputFault) as fault:
        load_project(CONFIGS / "luca.yaml", {"colour": "red", "extract_frames.every_s": "-1"})
    assert len(str(fault.value).splitlines()) == 2


def test_a_missing_or_broken_file_is_said(tmp_path):
    with pytest.raises(InputFault, match="no such file"):
        load_project(tmp_path / "no.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(InputFault, match="key: value"):
        load_project(tmp_path / "list.yaml")
    (tmp_path / "torn.yaml").write_text("a: [1\n")
    with pytest.raises(InputFault, match="not YAML"):
        load_project(tmp_path / "torn.yaml")


def test_a_folder_of_films_is_taken_in_order(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    for name in ("b.mkv", "a.mp4", "notes.txt"):
        (films / name).write_bytes(b"-")
    tree = yaml.safe_load((CONFIGS / "luca.yaml").read_text())
    tree.update(films=["films"], characters={}, places={})
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree))
    assert [film.path.name for film in load_project(tmp_path / "own.yaml").films] == ["a.mp4", "b.mkv"]


@pytest.mark.parametrize("name", ["luca", "pair", "valley"])
def test_settings_that_are_written_and_read_again_are_the_same_to_digests(name):
    """A float's default of 1 equals 1.0, but is another result."""
    for plan in load_project(CONFIGS / f"{name}.yaml").loras.values():
        for settings in (plan.caption, plan.dataset, plan.train, plan.evaluate):
            assert digest_of(type(settings).model_validate(settings.model_dump())) == digest_of(settings)


def test_a_link_out_of_the_project_is_refused_unless_allowed(tmp_path, monkeypatch):
    monkeypatch.delenv("REEL2LORA_ALLOW")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0a1b").write_bytes(b"-")  # as the hub's cache keeps files
    project = tmp_path / "project"
    project.mkdir()
    (project / "film.mp4").symlink_to(outside / "0a1b")
    tree = yaml.safe_load((CONFIGS / "luca.yaml").read_text())
    tree.update(films=["film.mp4"], characters={}, places={})
    (project / "own.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputFault, match="leaves the project's folder"):
        load_project(project / "own.yaml")
    monkeypatch.setenv("REEL2LORA_ALLOW", str(outside))
    film = load_project(project / "own.yaml").films[0].path
    assert film.name == "film.mp4", "the link's name says what the file is"
    assert film.resolve() == outside / "0a1b"


def test_two_films_of_one_name_are_refused(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(CONFIGS / "luca.yaml", tmp_path / folder / "film.mp4")
    tree = yaml.safe_load((CONFIGS / "luca.yaml").read_text())
    tree.update(films=["one", "two"], characters={}, places={})
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputFault, match="two films are called 'film'"):
        load_project(tmp_path / "own.yaml")


def test_results_can_be_looked_at_when_the_film_is_gone(tmp_path):
    (tmp_path / "own.yaml").write_text("name: old\nfilms: [gone.mp4]\nloras: {}\n")
    assert workspace_of(tmp_path / "own.yaml") == tmp_path / "workspace" / "old"


def test_overlays_are_laid_over_the_project_in_order(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"-")
    tree = yaml.safe_load((CONFIGS / "luca.yaml").read_text())
    tree.update(films=["film.mp4"], characters={}, places={}, overlays=["one.yaml", "two.yaml"])
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "one.yaml").write_text("loras: {luca: {train: {rank: 8, alpha: 4}}}")
    (tmp_path / "two.yaml").write_text("loras: {luca: {train: {rank: 32}}}")
    settings = load_project(tmp_path / "own.yaml").loras["luca"].train.settings
    assert (settings.rank, settings.alpha) == (32, 4)
    assert load_project(tmp_path / "own.yaml", {"loras.luca.train.rank": "2"}).loras["luca"].train.settings.rank == 2
    (tmp_path / "two.yaml").unlink()
    with pytest.raises(InputFault, match=r"overlays\.1.*two\.yaml"):
        load_project(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**tree, "overlays": "one.yaml"}))
    with pytest.raises(InputFault, match="should be a list"):
        load_project(tmp_path / "own.yaml")
