"""HTML pages: each is one file that needs nothing from elsewhere, made from a template beside this module."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def page_template(name: str) -> Template:
    """Return a template; all that goes into it is escaped, and what it is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment.get_template(name)


def write_page(page: str, path: Path, writer: str) -> Path:
    """Write a page beside its place and rename it; `writer` tells those apart that write it at the same moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{writer}.part")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def duration(seconds: float) -> str:
    """Return seconds in words, such as `4.2 s`, `3 min 20 s` or `2 h 5 min`."""
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004
