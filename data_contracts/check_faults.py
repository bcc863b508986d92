"""What a check found: one record a fault, so that all of them can be shown at once."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from data_contracts.config import Config
from data_contracts.faults import InputFault

Severity = Literal["error", "warning"]


class Fault(Config):
    """One thing that is wrong, where, and what to do about it."""

    place: str = Field(description="a file, relative to the folder that was checked, or a key of a project file")
    rule: str = Field(pattern=r"^[a-z0-9_]+$", description="snake_case name of the rule, the same for all its faults")
    value: str = Field(description="what was found there, in words")
    remedy: str = Field(default="", description="what to do; empty where the value already says it")
    severity: Severity = Field(description="error: training would fail or learn something wrong")

    def __str__(self) -> str:
        """Return the fault as one line."""
        return ": ".join(text for text in (self.place, self.value, self.remedy) if text)


def errors_of(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults that stand in the way."""
    return [fault for fault in faults if fault.severity == "error"]


def ordered(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults, each once, errors first, then by rule and place."""
    return sorted(set(faults), key=lambda fault: (fault.severity, fault.rule, fault.place, fault.value))


def refuse_errors(faults: Iterable[Fault]) -> None:
    """Let warnings pass.

    Raises:
        InputFault: there are errors; the message has a line for each.
    """
    if found := errors_of(faults):
        raise InputFault("\n".join(map(str, found)))
