"""Trainers take unknown keys in silence, or die of them hours later: ours are checked against their own."""

from collections.abc import Collection, Iterable

from data_contracts.faults import StageFault


def check_keys(where: str, given: Iterable[str], known: Collection[str]) -> None:
    """Check that a trainer knows every key.

    Raises:
        StageFault: it does not; the message names the keys.
    """
    if unknown := sorted(set(given) - set(known)):
        message = (
            f"{where} holds {', '.join(map(repr, unknown))}, which the trainer does not know: remove or correct it"
        )
        raise StageFault(message)
