"""Prefect's server, for commands that run flows."""

import os
from contextlib import AbstractContextManager


def use_prefect() -> AbstractContextManager[str]:
    """Return what points Prefect at the running server, or at one that lives as long as this run."""
    from flows.serving import running_server  # noqa: PLC0415

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    return running_server()
