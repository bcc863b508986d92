"""A base model as sd-scripts' transformers 4 reads it.

transformers 5 saves CLIP without `text_model.` in its names and tokenizers as one file; transformers 4 would go on with
random weights, and cannot read the tokenizer.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from data_contracts.faults import InputFault
from models.diffusion import family_of
from models.diffusion.clip_text import whole_tokens

PREFIX = "text_model."
TOKENIZER = "openai_clip-vit-large-patch14"  # the folder that sd-scripts look for in their cache
_WEIGHTS = Path("text_encoder", "model.safetensors")


def require_folder(base: Path) -> None:
    """Check that the base model is of a kind that sd-scripts are run with.

    Raises:
        InputFault: it is no diffusers folder of Stable Diffusion 1.x in safetensors.
    """
    family = family_of(base)
    if family != "sd15" or base.is_file():
        kind = f"a checkpoint of {family}" if base.is_file() else f"of the family {family}"
        message = f"base model {base} is {kind}; trainer kohya knows diffusers folders of sd15: use `trainer: native`"
        raise InputFault(message)
    if not (base / _WEIGHTS).is_file():
        message = f"base model {base} has no {_WEIGHTS.as_posix()}: fetch its safetensors files, no pickle is read"
        raise InputFault(message)


def prepare_base(base: Path, into: Path) -> Path:
    """Return a diffusers folder that sd-scripts read: `base` itself, or one of links to its files in `into`.

    Raises:
        InputFault: it is no diffusers folder of Stable Diffusion 1.x in safetensors.
    """
    require_folder(base)
    weights = load_file(base / _WEIGHTS)
    if all(key.startswith(PREFIX) for key in weights):
        return base
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(base, into, copy_function=_link, ignore=shutil.ignore_patterns(_WEIGHTS.name))
    save_file({PREFIX + key: value for key, value in weights.items()}, into / _WEIGHTS, {"format": "pt"})
    return into


def prepare_tokenizer(base: Path, cache: Path) -> None:
    """Write the base model's tokenizer into a cache of sd-scripts', as `vocab.json` and `merges.txt`.

    Raises:
        InputFault: the base model has no tokenizer that they could read.
    """
    ours, theirs = base / "tokenizer", cache / TOKENIZER
    shutil.rmtree(theirs, ignore_errors=True)
    shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("tokenizer.json"))
    if all((theirs / name).is_file() for name in ("vocab.json", "merges.txt")):
        return
    whole = ours / "tokenizer.json"
    if not whole.is_file():
        message = f"base model {base} has neither tokenizer/vocab.json and merges.txt nor tokenizer.json: fetch it anew"
        raise InputFault(message)
    model = json.loads(whole.read_text(encoding="utf-8"))["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (theirs / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (theirs / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")


def longest_text(tokenizer: Path, texts: Sequence[str]) -> int:
    """Return how many tokens the longest text has, ends included.

    Raises:
        InputFault: a text has more tokens than sd-scripts read, who cut what is longer without a word.
    """
    return max(map(len, whole_tokens(CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True), texts)))


def _link(source: str, target: str) -> None:
    """Link a file, or copy it where the file system has no links, or another one begins."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
