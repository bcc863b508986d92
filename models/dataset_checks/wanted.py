"""What a training folder is checked against."""

from dataclasses import dataclass, field

from models.caption.lint import Rules


@dataclass(frozen=True)
class Wanted:
    """What the training that follows needs of its folder.

    resolution: side in pixels of the square whose area pictures are scaled to; None: as dataset.toml says, else any.
    max_upscale: how much pictures may be enlarged for it.
    max_aspect: longer side by the shorter one; kohya's buckets go from 256 to 1024 pixels.
    masked: whether pictures need masks; None: as the folder shows.
    rules: what the captions have to keep to.
    """

    resolution: int | None = None
    max_upscale: float = 4.0
    max_aspect: float = 4.0
    masked: bool | None = None
    rules: Rules = field(default_factory=Rules)
