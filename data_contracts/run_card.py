"""What the gallery shows of a run: kept beside its report, so that it outlives the results that it is of."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from data_contracts.config import Config

FILE, PICTURE = "card.json", "card.jpg"


class RunCard(Config):
    """A run on the gallery's page."""

    run: str
    title: str
    started_at: str = Field(description="UTC, ISO 8601")
    state: Literal["running", "finished", "failed"]
    error: str = ""
    words: tuple[str, ...] = Field(description="what came out, in sentences")
    figures: dict[str, str] = Field(description="key figures in words, by name")
    shows: str = Field(default="", description="what its picture shows; empty where it has none")


def read_card(folder: Path) -> RunCard | None:
    """Read the card of a run's report folder; None where there is none, or one of another version."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return RunCard.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        return None
