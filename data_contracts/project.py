"""A project file: which films, whom and what to learn from them, and where the work is kept."""

from pathlib import Path

from pydantic import Field, model_validator

from data_contracts.config import Config
from data_contracts.lora_stages import (
    MOST_CLIP_TOKENS,
    AssembleDatasetConfig,
    CaptionConfig,
    EvaluateLoraConfig,
    TrainLoraConfig,
)
from data_contracts.records import LoraType
from data_contracts.stack_stages import (
    CompareStackingConfig,
    ComposeCharactersConfig,
    ComposeLorasConfig,
    SearchWeightsConfig,
)
from data_contracts.stages import (
    ClusterPlacesConfig,
    ClusterPosesConfig,
    EstimatePosesConfig,
    ExtractFramesConfig,
    FilmSource,
    IdentifyCharactersConfig,
    InpaintPlatesConfig,
    LabelExpressionsConfig,
    SegmentLayersConfig,
)


class LoraPlan(Config):
    """One LoRA of the project."""

    caption: CaptionConfig
    dataset: AssembleDatasetConfig
    train: TrainLoraConfig
    evaluate: EvaluateLoraConfig

    @model_validator(mode="after")
    def _crops_are_trained_in_their_shapes(self) -> "LoraPlan":
        if self.caption.buckets and not self.train.settings.buckets:
            message = "caption.buckets gives crops of many shapes, which train.buckets: false would cut to squares: "
            raise ValueError(message + "set both, or neither")
        return self

    @model_validator(mode="after")
    def _people_of_a_place_are_not_learnt(self) -> "LoraPlan":
        if self.dataset.inhabited and not self.train.settings.masked_loss:
            message = (
                f"dataset.inhabited is {self.dataset.inhabited}, but without train.masked_loss the people in these "
                "pictures would be learnt: set train.masked_loss: true, or dataset.inhabited: 0"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _captions_leave_room_for_vectors(self) -> "LoraPlan":
        vectors = self.train.settings.embedding_vectors
        room = MOST_CLIP_TOKENS - vectors + 1
        if vectors and self.caption.max_tokens > room:
            message = (
                f"caption.max_tokens is {self.caption.max_tokens}, but {MOST_CLIP_TOKENS} tokens are read, and "
                f"train.embedding_vectors puts {vectors} in the trigger's place: set caption.max_tokens: {room} or less"
            )
            raise ValueError(message)
        return self

    @property
    def type(self) -> LoraType:
        """What kind of thing the LoRA learns."""
        return self.caption.type


class Project(Config):
    """A project, complete: its own file over its profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    profile: str
    films: tuple[FilmSource, ...] = Field(min_length=1)
    workspace: Path
    base: Path | None = Field(description="diffusers folder or .safetensors file; null: the small one that comes along")
    extract_frames: ExtractFramesConfig
    segment_layers: SegmentLayersConfig
    inpaint_plates: InpaintPlatesConfig
    cluster_places: ClusterPlacesConfig
    identify_characters: IdentifyCharactersConfig
    estimate_poses: EstimatePosesConfig
    cluster_poses: ClusterPosesConfig = ClusterPosesConfig()
    label_expressions: LabelExpressionsConfig
    loras: dict[str, LoraPlan] = Field(min_length=1)
    search_weights: SearchWeightsConfig = SearchWeightsConfig()
    compose_loras: ComposeLorasConfig
    compare_stacking: CompareStackingConfig = CompareStackingConfig()
    compose_characters: ComposeCharactersConfig = ComposeCharactersConfig()

    @property
    def characters(self) -> tuple[str, ...]:
        """The names of the LoRAs of characters."""
        return tuple(name for name, plan in self.loras.items() if plan.type == "character")

    @model_validator(mode="after")
    def _films_differ(self) -> "Project":
        names = [film.path.stem for film in self.films]
        if len(set(names)) != len(names):
            message = f"two films are called {min(n for n in names if names.count(n) > 1)!r}: rename one"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _loras_read_the_same_layer(self) -> "Project":
        skips = {name: plan.train.settings.clip_skip for name, plan in self.loras.items()}
        if len(set(skips.values())) > 1:
            message = f"train.clip_skip differs between LoRAs that are to be stacked, {skips}: give all the same"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _test_has_seeds_of_its_own(self) -> "Project":
        common = sorted(set(self.search_weights.seeds) & set(self.compose_loras.seeds))
        if self.search_weights.trials and common:
            message = (
                f"search_weights.seeds and compose_loras.seeds share {common[0]}: weights that are chosen by a seed "
                "look better on it than they are; give the search other seeds"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _regions_are_the_characters(self) -> "Project":
        if fault := self.compose_characters.objection(self.characters):
            message = f"compose_characters.regions: {fault}"
            raise ValueError(message)
        return self
