"""The command line."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from data_contracts.faults import InputFault, StageFault
from flows.commands.arguments import Allowed, Changes, Config, allow, parsed, project_workspace
from flows.commands.check import lint, preflight
from flows.commands.compare import compare
from flows.commands.datasets import edit, trace
from flows.commands.evaluate import evaluate
from flows.commands.export import export
from flows.commands.export_lora import export_lora
from flows.commands.gallery import gallery
from flows.commands.server import use_prefect
from flows.commands.tune import tune

app = typer.Typer(
    name="reel2lora",
    help="A film goes in; LoRAs of its characters, places, poses and expressions come out, proven stacked.",
    epilog="Begin with `doctor CONFIG`, `preflight CONFIG`, `run CONFIG`; CONFIG is a project file, such as "
    "configs/luca.yaml. Exit codes: 0 done, 1 the work failed, 2 wrong use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

INTERRUPTED = 130


def main() -> None:
    """Run the command line; exit code 2 for wrong use, 1 for failure."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="%H:%M:%S")
    # Prefect keeps its own log; what fails is said once, below.
    handler.addFilter(lambda record: record.name == "reel2lora" or not record.name.startswith(("prefect", "httpx")))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    try:
        app()
    except (InputFault, StageFault) as fault:
        print(f"reel2lora: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # by which typer tells of Ctrl-C
            print("reel2lora: stopped. Finished parts are kept; the same command goes on from them.", file=sys.stderr)
        raise


@app.command()
def run(
    config: Config,
    lora: Annotated[
        str, typer.Option(metavar="LORA", help="Only this LoRA of the project; without it, all of them and the stack.")
    ] = "",
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Run a project to its report: what is finished is reused, what was interrupted goes on.

    What `preflight` checks is checked first. Prefect's server is used where one runs (`reel2lora up`); otherwise the
    run brings its own for as long as it takes.
    """
    allow(allow_folder)
    values = parsed(changes)
    check(config, lora, values)
    with use_prefect():
        if lora:
            from flows.build_lora import build_lora  # noqa: PLC0415

            report = build_lora(config.resolve(), lora, values)
        else:
            from flows.build_all import build_all  # noqa: PLC0415

            report = build_all(config.resolve(), values)
    print(f"report: {shown(report)}")


def check(config: Path, lora: str, values: dict[str, str]) -> None:
    """Refuse what cannot work before a server is started for it."""
    from data_contracts.project_file import load_project  # noqa: PLC0415
    from flows.checks.preflight import preflight  # noqa: PLC0415

    project = load_project(config, values)
    logging.getLogger("reel2lora").info("checking %s, its films and networks", config.name)
    for warning in preflight(project, [lora] if lora else list(project.loras)):
        logging.getLogger("reel2lora").warning("%s", warning)


@app.command()
def up(
    config: Config = Path("configs/luca.yaml"),
    host: Annotated[
        str,
        typer.Option(
            help="Address of the server; beyond loopback only with a password, PREFECT_SERVER_API_AUTH_STRING."
        ),
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the server; 4200 by default.")] = None,
    allow_folder: Allowed = None,
) -> None:
    """Serve a project's deployments until Ctrl-C: start its runs in Prefect's UI, or by `prefect deployment run`.

    Prefect's server is started where none runs yet.
    """
    allow(allow_folder)
    from flows.serving import serve_project  # noqa: PLC0415

    serve_project(config.resolve(), host, port)


@app.command()
def status(config: Config) -> None:
    """List the latest run's stages: how many items each kept and refused, reused or computed, and unfinished work."""
    from flows.commands.inspect_runs import print_status  # noqa: PLC0415

    print_status(project_workspace(config))


@app.command()
def show(
    config: Config,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage that `status` lists, such as segment_layers.")],
) -> None:
    """Show what a stage of the latest run kept and refused, and where its contact sheet is."""
    from flows.commands.inspect_runs import print_stage  # noqa: PLC0415

    print_stage(project_workspace(config), stage)


@app.command()
def rerun(
    config: Config,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage that `status` lists, such as segment_layers.")],
    lora: Annotated[
        str, typer.Option(metavar="LORA", help="Drop it for this LoRA only; the project is run as a whole.")
    ] = "",
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Drop a stage's result and all that follows from it, then run the project again."""
    allow(allow_folder)
    from data_contracts.project_file import load_project  # noqa: PLC0415
    from flows.commands.inspect_runs import drop_stage  # noqa: PLC0415

    load_project(config, parsed(changes))  # what is wrong there must not cost results
    for name in drop_stage(project_workspace(config), stage, lora):
        print(f"dropped {name}")
    run(config, "", changes, allow_folder)


@app.command()
def measure(
    config: Config,
    truth: Annotated[
        Path, typer.Option(help="A folder with truth.jsonl, masks/ and plates/, such as samples/harbour.")
    ],
    require: Annotated[
        list[str] | None, typer.Option(help="Fail unless a printed figure holds, such as 'shots_f1>=1.0'; repeatable.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Measure the latest run against a film's exact truth: shots, masks, names, places, actions, plates."""
    from flows.commands.inspect_runs import latest_run  # noqa: PLC0415
    from flows.measuring.measure import check_requirements, print_measures  # noqa: PLC0415
    from flows.measuring.measure import measure as measured  # noqa: PLC0415

    workspace = project_workspace(config)
    figures = measured(workspace, latest_run(workspace), truth)
    print_measures(figures)
    if json_file:
        json_file.write_text(figures.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if failures := check_requirements(figures, require or []):
        raise StageFault("\n".join(failures))


@app.command()
def doctor(
    config: Config = Path("configs/luca.yaml"),
    everything: Annotated[bool, typer.Option("--all", help="List every backend, with sizes and licences.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the weights that this project lacks.")] = False,
    setup: Annotated[
        str, typer.Option(metavar="TRAINER", help="Only make the Python environment of a trainer with its own: kohya.")
    ] = "",
    allow_folder: Allowed = None,
) -> None:
    """Say which backends a project needs, whether their weights are here, and what to do where they are not."""
    allow(allow_folder)
    from flows.commands.doctor import print_doctor, set_up  # noqa: PLC0415

    if setup:
        set_up(setup)
        return
    print_doctor(config, everything=everything, fetch=fetch)


@app.command()
def clean(
    config: Config,
    keep_last: Annotated[bool, typer.Option("--keep-last", help="Keep what the latest finished run used.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete every result without asking.")] = False,
) -> None:
    """Delete results from a project's workspace; what you decided by `edit`, and exports, stay."""
    from flows.commands.inspect_runs import clean_workspace  # noqa: PLC0415

    if not keep_last and not yes:
        typer.confirm("Delete every result of this workspace? (--keep-last keeps those of the latest run)", abort=True)
    freed = clean_workspace(project_workspace(config), keep_last=keep_last)
    print(f"freed {freed / 1e6:.1f} MB")


for command in (
    lint,
    preflight,
    edit,
    trace,
    export,
    export_lora,
    evaluate,
    compare,
    gallery,
    tune,
):
    app.command()(command)


def shown(path: Path) -> str:
    """Return a path as a person would type it from here."""
    return os.path.relpath(path)


if __name__ == "__main__":
    main()
