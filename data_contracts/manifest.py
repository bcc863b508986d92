"""What a finished stage says of itself; a manifest's presence is what "finished" means."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from data_contracts.whole_file import whole_file


class Counts(BaseModel):
    """How many items came out, and why others did not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: int = Field(ge=0)
    rejected: dict[str, int] = Field(description="number of refused items by reason")


class Manifest(BaseModel):
    """The last file that a stage writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    version: int = Field(ge=1, description="raised when the stage's meaning changes: old results are not reused")
    digest: str = Field(description="SHA-256 of stage, version, configuration and the content of the inputs")
    content_digest: str = Field(description="SHA-256 of the kept rows, their files included")
    record: str = Field(description="type of the rows")
    inputs: dict[str, str] = Field(description="content digest of each input, by parameter name")
    config: dict[str, JsonValue]
    versions: dict[str, str] = Field(description="versions of the packages that did the work")
    counts: Counts
    shards: int = Field(ge=0)
    seconds: float = Field(ge=0, description="work on it, of resumed runs too")
    finished_at: str = Field(description="UTC, ISO 8601")

    def save(self, folder: Path) -> None:
        """Write `manifest.json`, beside and renamed."""
        with whole_file(folder / "manifest.json") as beside:
            beside.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Manifest | None":
        """Read the manifest of a stage's folder, or None where the stage has not finished."""
        path = folder / "manifest.json"
        if not path.is_file():
            return None
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
