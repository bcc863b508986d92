"""`reel2lora lint`: a training folder of whatever origin, all its faults in one table."""

from dataclasses import dataclass
from pathlib import Path

from data_contracts.faults import InputFault
from data_contracts.records import LoraType
from flows.checks.fault_table import counted, show_faults
from models.caption.lint import Rules
from models.caption.tokens import Tokenizer, load_tokenizer
from models.dataset_checks.folder import check_folder
from models.dataset_checks.wanted import Wanted
from models.diffusion import tokenizer_folder
from models.weights import MissingWeights


@dataclass(frozen=True)
class LintOptions:
    """What a data set is linted against, as typed."""

    kind: LoraType | None
    trigger: str
    prefix: str
    tokens: int
    base: Path | None
    resolution: int | None


def print_lint(folder: Path, options: LintOptions, json_file: Path | None) -> None:
    """Check a training folder and print its faults.

    Raises:
        InputFault: there are errors.
    """
    rules = Rules(
        type=options.kind,
        trigger=options.trigger,
        prefix=options.prefix,
        max_tokens=options.tokens,
        tokenizer=tokenizer_of(options.base),
    )
    faults = check_folder(folder, Wanted(resolution=options.resolution, rules=rules))
    title = folder.resolve().name
    show_faults(faults, title, json_file)
    print(f"{title}: {counted(faults)}")


def tokenizer_of(base: Path | None) -> Tokenizer | None:
    """Return the tokenizer of a base model, or CLIP's own; None, said aloud, where that is not installed.

    base: a diffusers folder, its tokenizer/ alone, or a single checkpoint.

    Raises:
        InputFault: there is no tokenizer.
    """
    if base is None:
        from models.diffusion.vocabulary import clip_tokenizer  # noqa: PLC0415

        try:
            return clip_tokenizer()
        except MissingWeights as missing:
            print(f"tokens are not counted: {missing}; or give --base")
            return None
    try:
        whole = base.is_file() or (base / "tokenizer").is_dir()
        return load_tokenizer(tokenizer_folder(base) if whole else base)
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = str(error).split("\n", maxsplit=1)[0]
        message = (
            f"--base {base.name}: its tokenizer cannot be read ({why}): give a diffusers folder, or its tokenizer/"
        )
        raise InputFault(message) from error
