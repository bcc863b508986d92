"""Commands that look before time is spent: at any data set, and at a project."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from data_contracts.faults import InputFault
from data_contracts.records import LoraType
from flows.commands.arguments import Allowed, Changes, Config, allow, parsed

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every fault to this file too.")]


def lint(  # noqa: PLR0913, PLR0917  one parameter an option
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Pictures beside texts, or with metadata.jsonl or dataset.toml.")
    ],
    trigger: Annotated[str, typer.Option(help="Words that every caption begins with.")] = "",
    kind: Annotated[str, typer.Option("--type", help=f"What is taught: {', '.join(get_args(LoraType))}.")] = "",
    prefix: Annotated[str, typer.Option(help="Words that all captions share on purpose.")] = "",
    tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that your trainer reads of a caption, both ends included.")
    ] = 77,
    base: Annotated[
        Path | None, typer.Option(help="Base model whose tokenizer counts: a folder or a checkpoint; else CLIP's.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=64, help="Side in pixels that training scales pictures to; else dataset.toml's."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Check any training folder, whatever made it: pictures, masks, captions, names.

    The exit code is 2 if training would fail or learn something wrong. Without --type captions may say
    anything; --type character, for one, denies hair and clothes.
    """
    from flows.commands.lint import LintOptions, print_lint  # noqa: PLC0415

    if kind and kind not in get_args(LoraType):
        message = f"--type {kind}: no such type of LoRA; known: {', '.join(get_args(LoraType))}"
        raise InputFault(message)
    known: LoraType | None = next((each for each in get_args(LoraType) if each == kind), None)
    print_lint(folder, LintOptions(known, trigger, prefix, tokens, base, resolution), json_file)


def preflight(
    config: Config,
    lora: Annotated[str, typer.Option(metavar="LORA", help="Only this LoRA of the project; else all.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Then run the whole graph on a few seconds of film, one step a training.")
    ] = False,
    json_file: JsonFile = None,
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Say all that would make a run fail or teach the wrong thing, in one table, and what memory and disk it takes.

    The exit code is 2 if there are errors; `run` would refuse them as well.
    """
    from flows.checks.table import print_preflight  # noqa: PLC0415

    allow(allow_folder)
    project = print_preflight(config, lora, parsed(changes), json_file)
    if dry_run:
        from flows.checks.dry_run import print_dry_run  # noqa: PLC0415

        print_dry_run(project, [lora] if lora else list(project.loras))
