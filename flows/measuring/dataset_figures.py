"""What the data sets are worth: whether each picture shows what its LoRA shall learn, by the truth."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.records import Example, LoraType, Plate
from data_contracts.results import LoraFile
from flows.measuring.truth_join import TruthJoin, fitted
from models.inpaint.provenance import Origin
from models.metrics.figure import Figures, figure, present, share


def dataset_figures(join: TruthJoin) -> Figures:
    """Score the data set of each LoRA of the run; a background's by the characters left in its pictures."""
    figures: Figures = {}
    sets = join.results.by_label("assemble_dataset", Example)
    trained = join.results.by_label("train_lora", LoraFile) if sets else {}
    for label, examples in sets.items():
        if label not in trained:
            continue
        (lora,) = trained[label]
        pictures = examples.where("film", join.film).where("role", "subject")
        if lora.type == "background":
            figures |= _background_figures(join, label, pictures)
        else:
            figures |= _subject_figures(join, label, pictures, lora)
    return figures


def _subject_figures(join: TruthJoin, label: str, pictures: Dataset[Example], lora: LoraFile) -> Figures:
    right = sum(_is_subject(join, row.source_id, lora.type, lora.subject) for row in pictures)
    note = f"share of the data set's pictures that show {lora.subject}"
    return present(**{f"dataset_{label}_precision": figure(share(right, len(pictures)), len(pictures), note)})


def _is_subject(join: TruthJoin, layer: str, kind: LoraType, subject: str) -> bool:
    character = join.layer_truth.get(join.known_layer(layer))
    if character is None:
        return False
    shows: Mapping[LoraType, str] = {
        "character": character.id,
        "pose": character.pose,
        "expression": character.expression,
    }
    return shows[kind] == subject


def _background_figures(join: TruthJoin, label: str, pictures: Dataset[Example]) -> Figures:
    """Measure how much of each picture is a character's own pixels; the painted ones are the plates' figure."""
    plates = join.rows("inpaint_plates", Plate)
    if plates is None or not len(pictures):
        return {}
    shares = []
    for row in pictures:
        plate = plates.by_id[row.source_id]
        kinds = np.asarray(Image.open(plates.path(plate.provenance)).convert("L"))
        inside = fitted(
            (join.truth.mask_values(join.picture(row.frame)) > 0).astype(np.uint8), kinds.shape[::-1], classes=True
        )
        x0, y0, x1, y1 = (round(edge) for edge in row.box)
        left = inside & (kinds == Origin.OWN)
        shares.append(float(left[y0:y1, x0:x1].mean()))
    note = "largest share of a picture of the data set that is a character's own pixels"
    return present(**{f"dataset_{label}_characters": figure(max(shares), len(shares), note, "lower")})
