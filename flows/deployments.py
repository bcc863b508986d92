"""What a project can be asked for through Prefect: each LoRA, all of them, the stack, and a search of settings."""

from pathlib import Path
from typing import Any

from prefect.deployments.runner import RunnerDeployment

from data_contracts.project import Project
from flows.build_all import build_all
from flows.build_lora import build_lora
from flows.composition_test import composition_test
from flows.tune_lora import tune_lora


def deployments_of(project: Project, config: Path) -> list[RunnerDeployment]:
    """Return the project's deployments; a LoRA's is called by its type, or by its name where types repeat."""
    types = [plan.type for plan in project.loras.values()]
    found: list[Any] = []
    for name, plan in project.loras.items():
        short = plan.type if types.count(plan.type) == 1 else f"{plan.type}-{name}"
        found.append(deployment(build_lora, f"{project.name}-{short}", config, {"lora": name}))
    found.append(deployment(build_all, f"{project.name}-all", config, {}))
    found.append(deployment(composition_test, f"{project.name}-composition", config, {}))
    # of the first LoRA, unless a run is told another: `prefect deployment run luca-tune --param lora=running`
    found.append(deployment(tune_lora, f"{project.name}-tune", config, {"lora": next(iter(project.loras))}))
    return found


def deployment(flow: Any, name: str, config: Path, parameters: dict[str, str]) -> Any:  # noqa: ANN401
    """Make one deployment whose runs read `config` when they start."""
    text = (flow.fn.__doc__ or "").split("\n")[0]
    return flow.to_deployment(name=name, parameters={"config": str(config), **parameters}, description=text)
