"""JSON Schemas of the contracts, generated so that a change of one is seen: `make schemas` writes them anew."""

import json
from pathlib import Path

from pydantic import BaseModel

from data_contracts import records, results
from data_contracts.manifest import Manifest
from data_contracts.project import Project

FOLDER = Path(__file__).parent / "schemas"


def schemas() -> dict[str, str]:
    """Return the JSON Schema of every record, of the manifest and of a complete project, by file name."""
    named = {**vars(records), **vars(results)}.values()
    rows = [kind for kind in named if isinstance(kind, type) and issubclass(kind, records.Record)]
    models: list[type[BaseModel]] = [*(kind for kind in rows if kind is not records.Record), Manifest, Project]
    return {f"{model.__name__}.json": json.dumps(model.model_json_schema(), indent=1) + "\n" for model in models}


def main() -> None:
    """Write the schemas; remove those of contracts that are gone."""
    FOLDER.mkdir(exist_ok=True)
    written = schemas()
    for old in FOLDER.glob("*.json"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
