"""Ask the probe what pictures show."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from data_contracts.records import LoraType
from models.metrics.judges import Subject
from models.metrics.world_probe.network import CLASSES, ProbeNetwork
from models.pictures import Picture
from models.stills import SIZE, unit_range
from models.weights import MissingWeights

WEIGHTS = Path(__file__).parent / "weights.safetensors"
BATCH = 64
Attribute = tuple[str, str]  # its name, and the class that is meant


class WorldProbe:
    """The judge of the sample film's world; see `models.metrics.judges`."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self.network = load_probe(weights)

    def knows(self, kind: LoraType, subject: str) -> bool:
        """Whether the probe was taught the subject of a LoRA of this type."""
        return attribute_of(kind, subject) is not None

    def likelihoods(self, pictures: Sequence[Picture], subjects: Sequence[Subject]) -> list[list[float]]:
        """Return for each picture, square `(H, W, 3) RGB` uint8, how likely it shows each subject, 0..1.

        Raises:
            KeyError: the probe does not know a subject.
        """
        attributes: list[Attribute] = []
        for kind, subject in subjects:
            attribute = attribute_of(kind, subject)
            if attribute is None:
                raise KeyError(subject)
            attributes.append(attribute)
        return [[chances[name][value] for name, value in attributes] for chances in self.answers(pictures)]

    def answers(self, pictures: Sequence[Picture]) -> list[dict[str, dict[str, float]]]:
        """Return for each of `pictures`, square `(H, W, 3) RGB` uint8, the probability of each attribute's classes."""
        answers: list[dict[str, dict[str, float]]] = []
        for start in range(0, len(pictures), BATCH):
            part = _tensor(pictures[start : start + BATCH])
            with torch.no_grad():
                logits, _ = self.network(unit_range(part))
            chances = {name: values.softmax(dim=-1).tolist() for name, values in logits.items()}
            answers += [_named({name: rows[place] for name, rows in chances.items()}) for place in range(len(part))]
        return answers


def attribute_of(kind: LoraType, subject: str) -> Attribute | None:
    """Return the attribute that says whether a LoRA's subject is there; None where the probe was not taught it."""
    attributes: dict[LoraType, Attribute] = {
        "character": ("who", subject),
        "background": (subject, "yes"),
        "pose": ("pose", subject),
        "expression": ("expression", subject),
    }
    name, value = attributes[kind]
    return (name, value) if value in CLASSES.get(name, ()) else None


def load_probe(path: Path) -> ProbeNetwork:
    """Return the probe of a file that `save_probe` wrote.

    Raises:
        MissingWeights: there is no such file.
    """
    if not path.is_file():
        message = (
            f"the world probe has no weights at {path.name}: `python -m models.metrics.world_probe train` makes them"
        )
        raise MissingWeights(message)
    network = ProbeNetwork()
    network.load_state_dict(load_file(path))
    return network.eval()


def save_probe(network: ProbeNetwork, path: Path) -> None:
    """Write the probe's weights in half precision."""
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in halves.items()}, path)


def _named(chances: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(CLASSES[name], values, strict=True)) for name, values in chances.items()}


def _tensor(pictures: Sequence[Picture]) -> torch.Tensor:
    sized = [cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for picture in pictures]
    return torch.from_numpy(np.stack(sized)).permute(0, 3, 1, 2)
