"""The names by which a configuration calls backends."""

from collections.abc import Collection


def require_known(what: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that no backend has.

    Raises:
        ValueError: `name` is not among `known`; it names them all.
    """
    if name not in known:
        message = f"no {what} is called {name!r}; known are: {', '.join(known)}"
        raise ValueError(message)
