"""Profiles that extend one another: what each says wins over what lies below, and a circle is named."""

from pathlib import Path

import pytest

from data_contracts.faults import InputFault
from data_contracts.profiles import read_profile


def write(folder: Path, **profiles: str) -> Path:
    (folder / "profiles").mkdir()
    for name, text in profiles.items():
        (folder / "profiles" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_profile_lies_over_the_one_it_extends_and_all_types_between_them(tmp_path):
    beside = write(
        tmp_path,
        below="{size: 1, other: 2, types: {pose: {train: {rank: 1, steps: 1, seed: 1}}, place: {train: {rank: 5}}}}",
        above="{extends: below, size: 3, all_types: {train: {rank: 2, steps: 2}}, types: {pose: {train: {steps: 3}}}}",
        top="{extends: above, all_types: {train: {seed: 4}}}",
    )
    tree, file = read_profile("top", beside)
    assert file.name == "top.yaml"
    assert tree == {
        "size": 3,
        "other": 2,
        "types": {
            "pose": {"train": {"rank": 2, "steps": 3, "seed": 4}},
            "place": {"train": {"rank": 2, "steps": 2, "seed": 4}},
        },
    }


def test_all_types_serve_a_profile_that_extends_none(tmp_path):
    beside = write(tmp_path, alone="{all_types: {train: {rank: 2}}, types: {pose: {train: {rank: 3}}, place: }}")
    assert read_profile("alone", beside)[0]["types"] == {
        "pose": {"train": {"rank": 3}},
        "place": {"train": {"rank": 2}},
    }


def test_circles_and_unknown_names_are_refused(tmp_path):
    beside = write(tmp_path, one="extends: two", two="extends: one", three="extends: nobody")
    with pytest.raises(InputFault, match=r"two\.yaml \(profile\): extends: 'one' itself extends it"):
        read_profile("one", beside)
    with pytest.raises(InputFault, match=r"'nobody' is not a profile; known: .*flux-24gb.*sdxl-16gb"):
        read_profile("three", beside)
