"""The two ways to fail: the input is wrong (exit code 2), or the work failed (exit code 1)."""

from collections.abc import Mapping
from typing import Any


class InputFault(ValueError):
    """What the user gave cannot be used. The message names the value, the rule, the place and the remedy."""

    exit_code = 2


class StageFault(RuntimeError):
    """A stage could not do its work. Finished parts are kept: a rerun goes on from them."""

    exit_code = 1


class StaleRows(InputFault):
    """A result in the workspace was made by another version, whose rows had other fields."""


def rule_of(error: Mapping[str, Any]) -> str:
    """Return which rule one of pydantic's `ValidationError.errors()` tells of, without what it puts before ours."""
    return str(error["msg"]).removeprefix("Value error, ")
