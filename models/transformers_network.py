"""Networks of transformers from a folder on this machine: nothing is fetched, unpickled or made up."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers.utils.logging

from models.device import gpu_or_cpu
from models.weights import MissingWeights


def load_network(
    kind: Any,  # noqa: ANN401  transformers' classes carry no types
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    twins: Iterable[tuple[str, str]] = (),
    quantisation: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return the network of transformers' class `kind` from a folder of `config.json` and safetensors, to be asked.

    Of a file with more networks only this one's tensors are read. Tensors that the class itself ties, and those that
    it computes, need not be in the file.

    Args:
        kind: the class, such as `transformers.Dinov2Model`.
        folder: as `save_pretrained` writes it.
        dtype: of the network; float32 where none is given.
        device: "cpu" or "cuda"; None for the GPU where there is one.
        twins: names of tensors that are always equal and that the class does not tie: one of the two may be missing.
        quantisation: one of transformers' configurations, such as `BitsAndBytesConfig`; None: as the file is.

    Raises:
        MissingWeights: the file lacks tensors of the network; transformers itself would make them up.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    network, found = kind.from_pretrained(
        folder,
        dtype=dtype or torch.float32,
        local_files_only=True,
        use_safetensors=True,
        quantization_config=quantisation,
        output_loading_info=True,
    )
    if missing := sorted(_without_twins(network, set(found["missing_keys"]), twins)):
        message = (
            f"the model in {folder.name} lacks {len(missing)} tensors of {kind.__name__}, such as {missing[0]}: "
            "it is another model or damaged; delete the folder and fetch it again"
        )
        raise MissingWeights(message)
    return network.eval().to(gpu_or_cpu() if device is None else device)


def _without_twins(network: torch.nn.Module, missing: set[str], twins: Iterable[tuple[str, str]]) -> set[str]:
    """Give each of `missing` the values of its twin that is there; return what is missing still."""
    tensors = network.state_dict()
    for pair in twins:
        if len(gone := missing.intersection(pair)) == 1:
            (lost,), (there,) = gone, set(pair) - gone
            tensors[lost].copy_(tensors[there])
            missing = missing - gone
    return missing
