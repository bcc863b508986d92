"""The LoRAs of a project stacked: the search for their weights, where it can be made, and the tests of the stack."""

from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.project import Project
from data_contracts.results import CharactersPicture, LoraFile, StackPicture, WayPicture
from flows.lora_steps import Made
from tasks.compare_stacking import compare_stacking
from tasks.compose_characters import compose_characters
from tasks.compose_loras import compose_loras, stacked_prompt
from tasks.search_weights import objection, search_weights


def stack_made(project: Project, made: tuple[Made, ...], base: Path) -> None:
    """Stack what was made: the composition test, the ways of stacking beside it, several characters in one picture."""
    loras = tuple(each.lora for each in made)
    stack = stack_loras(project, loras, base)
    compare_ways(project, loras, base, stack)
    stack_characters(project, made, base)


def stack_loras(project: Project, loras: tuple[Dataset[LoraFile], ...], base: Path) -> Dataset[StackPicture]:
    """Search for stacking weights and test the best ones; without a judge that knows the LoRAs, the configured ones."""
    given, config = project.compose_loras, project.search_weights
    members = [lora for each in loras for lora in each]
    if why_not := objection(members, given, config):
        return compose_loras(project.workspace, loras, base, given, why_not)
    prompt = stacked_prompt(members, given.prefix, given.suffix)
    # what only the test draws is left out, so that other seeds of the test do not search again
    sampling = given.model_copy(update={"seeds": config.seeds, "steps": config.steps, "pairs": False})
    trials = search_weights(project.workspace, loras, base, prompt, sampling, config)
    return compose_loras(project.workspace, loras, base, given, trials)


def compare_ways(
    project: Project, loras: tuple[Dataset[LoraFile], ...], base: Path, stack: Dataset[StackPicture]
) -> Dataset[WayPicture] | None:
    """Compare the ways of stacking; None of one LoRA, of several characters, or if nobody asked."""
    config = project.compare_stacking
    members = [lora for each in loras for lora in each]
    if len(members) < 2 or not config.methods or len(project.characters) > 1:  # noqa: PLR2004
        return None
    return compare_stacking(project.workspace, loras, base, stack, project.compose_loras, config)


def stack_characters(project: Project, made: tuple[Made, ...], base: Path) -> Dataset[CharactersPicture] | None:
    """Test whether the project's characters stay who they are in one picture; None of one alone, or if nobody asked."""
    config = project.compose_characters
    people = [lora for each in made for lora in each.lora if lora.type == "character"]
    if len(people) < 2 or not config.methods:  # noqa: PLR2004
        return None
    loras, examples = zip(*made, strict=True)
    sampling = project.compose_loras.model_copy(update={"pairs": False})  # which only the other test looks at
    return compose_characters(project.workspace, loras, examples, base, sampling, config)
