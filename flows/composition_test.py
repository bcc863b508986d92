"""All LoRAs of a project stacked on one another: what is missing is built, what is finished is reused."""

from pathlib import Path

from prefect import flow

from flows.build_all import build_all, named_by_project


@flow(name="composition-test", flow_run_name=named_by_project)
def composition_test(config: Path, changes: dict[str, str] | None = None) -> Path:
    """Test the stack of all LoRAs of a project; LoRAs that are missing are built first.

    Returns:
        The report.
    """
    return build_all.fn(config, changes)
