"""What a LoRA draws after some of its steps: how like the subject, how true to its caption, how different, what copies.

Held-out captions are drawn, from the same noise at each validation and in each training, so that steps are compared
picture by picture. What cannot be measured is left out: no embedder is named, no text scorer, too little is held out.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_contracts.results import CopyCheck
from data_contracts.training import DrawRequest, TrainRequest
from data_contracts.validations import Drawn, drawn_path
from models.child import stop_requested
from models.diffusion.families import DiffusionModel
from models.embed import EMBEDDERS, Embedder, Embeddings
from models.embed.files import embed_files
from models.metrics.copying import Layouts, nearest
from models.metrics.diversity import vendi_score
from models.metrics.likeness import likeness, read_subject
from models.metrics.text_scorers import TEXT_SCORERS, TextScorer
from models.pictures import Picture, read_rgb
from models.seeds import derived_seed
from models.trainers.pictures import draw, write_png

_SEED = 0  # not the run's own: runs of other seeds and settings are compared with one another
_DIGITS = 6


@dataclass(frozen=True)
class Measures:
    """What drawn pictures are measured by; None where it is not named."""

    embedder: Embedder | None
    references: Embeddings | None  # of the held-out pictures, by the embedder
    text_scorer: TextScorer | None
    learnt: Layouts
    held_out: Layouts


class Drawings:
    """Draws and measures what a request asks to be drawn; networks are loaded when there are pictures to measure."""

    def __init__(self, model: DiffusionModel, request: TrainRequest, drawing: DrawRequest) -> None:
        self.model, self.request, self.drawing = model, request, drawing

    def measure(self, step: int) -> Drawn | None:
        """Draw with the adapter as it is after `step` steps, keep the pictures in `drawn/`; None where SIGTERM came.

        Raises:
            MissingWeights: the embedder's or the text scorer's weights are not on this machine.
        """
        pictures: list[Picture] = []
        settings, prompts = self.request.settings, self.drawing.prompts
        for start in range(0, len(prompts), settings.batch):  # what fits into memory with gradients fits without
            if stop_requested():
                return None
            asked = prompts[start : start + settings.batch]
            seeds = [derived_seed(_SEED, "drawn", start + place) for place in range(len(asked))]
            edited = [read_rgb(each.control) if each.control else None for each in asked]
            pictures += draw(self.model, [each.caption for each in asked], seeds, settings, edited)
        for number, picture in enumerate(pictures):
            write_png(drawn_path(self.request.output, step, number), picture)
        found = self._measured(pictures)
        if self.model.device.type != "cpu":
            del self.measures  # until the next time, the device's memory is the training's
        return found

    @cached_property
    def measures(self) -> Measures:
        """The networks that measure, and the pictures that are known."""
        settings, references = self.request.settings, self.drawing.references
        embedder = EMBEDDERS.load(settings.drawn_embedder) if settings.drawn_embedder else None
        scorer = TEXT_SCORERS.load(settings.drawn_text_scorer) if settings.drawn_text_scorer else None
        held_out = {each.image: each.mask for each in references}

        def subject_of(path: Path) -> Picture:
            return read_subject(path, held_out[path])

        return Measures(
            embedder,
            embed_files(embedder, list(held_out), subject_of, lambda *_: None) if embedder else None,
            scorer,
            Layouts(read_rgb(each.image) for each in self.request.examples),
            Layouts(read_rgb(each.image) for each in references),
        )

    def _measured(self, pictures: list[Picture]) -> Drawn:
        by = self.measures
        vectors = by.embedder.embed(pictures) if by.embedder else None
        like = None if vectors is None or by.references is None else likeness(vectors, by.references)
        score = by.text_scorer.scores(pictures, [each.plain for each in self.drawing.prompts]) if by.text_scorer else ()
        differ = None if vectors is None else vendi_score(vectors)
        return Drawn(
            pictures=len(pictures),
            likeness=() if like is None else tuple(round(float(value), _DIGITS) for value in like),
            text=tuple(round(float(value), _DIGITS) for value in score),
            copying=tuple(check for picture in pictures if (check := self._copy_check(picture)) is not None),
            diversity=None if differ is None else round(differ, _DIGITS),
        )

    def _copy_check(self, picture: Picture) -> CopyCheck | None:
        found = nearest(picture, self.measures.learnt, self.measures.held_out)
        if found is None:
            return None
        return CopyCheck(
            nearest=self.request.examples[found.training].image.name,
            to_training=round(found.to_training, _DIGITS),
            to_held_out=round(found.to_held_out, _DIGITS),
            is_copy=found.is_copy,
        )
