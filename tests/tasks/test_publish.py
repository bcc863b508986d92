"""What Prefect's UI shows of a result."""

from data_contracts.manifest import Counts, Manifest
from tasks.publish import artifact_key, markdown


def test_what_a_stage_says_in_words_stands_in_its_artifact_below_its_heading(tmp_path):
    (tmp_path / "composition.md").write_text("# The stack\n\n- luca lowers run's score\n\n## Weights\n\n| a |\n|---|\n")
    manifest = Manifest(
        stage="compose_loras", version=1, digest="0" * 64, content_digest="1" * 64, record="StackPicture", inputs={},
        config={}, versions={}, counts=Counts(kept=3, rejected={"too_blurred": 2}), shards=1, seconds=1.5,
        finished_at="2025-01-01T12:00:00+00:00",
    )  # fmt: skip
    lines = markdown("compose-loras", manifest, tmp_path, reused=False).splitlines()
    assert [line for line in lines if line.startswith("#")] == ["## compose-loras", "### The stack", "#### Weights"]
    assert "- luca lowers run's score" in lines
    assert "| too blurred | 2 |" in lines


def test_keys_are_what_prefect_takes():
    assert artifact_key("My_film: Luca!") == "my-film-luca"
