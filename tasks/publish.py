"""What Prefect's UI shows of a stage: its progress and its contact sheet. Nothing here can fail a stage's work."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast
from uuid import UUID

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from data_contracts.manifest import Manifest

MAX_IMAGE_BYTES = 90_000  # a larger data: URI makes the UI slow


def progress_sink(label: str) -> Callable[[float, str], None] | None:
    """Return what shows progress on the running Prefect task, or None outside one."""
    if TaskRunContext.get() is None:
        return None
    key = f"{artifact_key(label)}-progress"
    artifact = cast("UUID", create_progress_artifact(progress=0.0, key=key, description=f"{label}: progress"))

    def show(percent: float, text: str) -> None:
        update_progress_artifact(artifact, progress=percent, description=f"{label} {text}".strip())

    return show


def publish_result(label: str, folder: Path, *, reused: bool) -> None:
    """Show a finished result's counts and contact sheet as a Markdown artifact."""
    manifest = Manifest.load(folder)
    if manifest is None:
        message = f"{folder.name} has no manifest: only finished results are published"
        raise ValueError(message)
    text = markdown(label, manifest, folder, reused=reused)
    create_markdown_artifact(key=artifact_key(label), markdown=text, description=label)


def markdown(label: str, manifest: Manifest, folder: Path, *, reused: bool) -> str:
    """Return the artifact's text."""
    refused, short, note = sum(manifest.counts.rejected.values()), manifest.digest[:16], ", reused" if reused else ""
    lines = [
        f"## {label}",
        f"**{manifest.counts.kept} kept**, {refused} refused, {manifest.seconds:.1f} s of work{note}, result `{short}`",
        "",
    ]
    if manifest.counts.rejected:
        lines += ["| refused because | items |", "|---|---|"]
        lines += [f"| {reason.replace('_', ' ')} | {count} |" for reason, count in manifest.counts.rejected.items()]
        lines.append("")
    for summary in sorted(folder.glob("*.md")):  # what a stage says in words and tables, such as composition.md
        lines += [re.sub(r"^#", "###", summary.read_text(encoding="utf-8"), flags=re.MULTILINE), ""]
    if (folder / "sheet.jpg").is_file():
        lines.append(f"![contact sheet of {label}](data:image/jpeg;base64,{small_jpeg(folder / 'sheet.jpg')})")
    return "\n".join(lines)


def small_jpeg(path: Path) -> str:
    """Return the picture as base64 JPEG of at most `MAX_IMAGE_BYTES`, shrunk until it fits."""
    picture = Image.open(path).convert("RGB")
    width = min(picture.width, 1200)
    while True:
        buffer = io.BytesIO()
        picture.resize((width, max(1, round(picture.height * width / picture.width)))).save(buffer, "JPEG", quality=70)
        if buffer.tell() * 4 / 3 <= MAX_IMAGE_BYTES or width <= 100:  # noqa: PLR2004
            return base64.b64encode(buffer.getvalue()).decode()
        width = int(width * 0.8)


def artifact_key(label: str) -> str:
    """Return a label as Prefect takes keys: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
