"""Whether a stage's result may go on: success that did nothing is a failure."""

from collections.abc import Sequence

from data_contracts.config import StageConfig
from data_contracts.faults import StageFault
from data_contracts.records import Record, Rejected
from tasks.run_record import current_label


def check_result(name: str, config: StageConfig, kept: Sequence[Record], refused: Sequence[Rejected]) -> None:
    """Refuse a result that would only fail later.

    Raises:
        StageFault: no rows though the configuration asks for some, or too large a share was refused.
        ValueError: two rows share an id.
    """
    if len({row.id for row in kept}) != len(kept):
        message = f"{name}: two rows share an id; ids are derived from the parent's and must be unique"
        raise ValueError(message)
    reasons = ", ".join(sorted({row.reason for row in refused})) or "nothing was refused, nothing was found"
    named = f"{name} for {current_label()}" if current_label() else name
    if not kept and not config.may_be_empty:
        message = f"{named}: nothing was kept of {len(refused)} refused items ({reasons}). Look at the contact "
        message += "sheets of the stages before it, loosen the rule in the project file, or set `may_be_empty: true`"
        raise StageFault(message)
    share = len(refused) / max(1, len(refused) + len(kept))
    if share > config.max_rejected_share:
        message = f"{named}: {share:.0%} of the items were refused ({reasons}), above `max_rejected_share` = "
        raise StageFault(
            message + f"{config.max_rejected_share:.0%}. Look at its rejected.parquet, loosen the rule or the limit"
        )
