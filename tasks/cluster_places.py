"""Group the plates into places, and give these the names of their references."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Place, Plate, Rejected
from data_contracts.stages import ClusterPlacesConfig
from models.embed import EMBEDDERS
from models.embed.files import embed_files
from models.embed.naming import Pictures, group_and_name
from models.embed.suggestions import write_suggestions
from models.pictures import read_rgb
from models.sheets import places_sheet
from tasks.progress import report_progress
from tasks.stage import stage

embedder = lru_cache(maxsize=2)(EMBEDDERS.load)


@stage(Place, version=3, sheet=places_sheet)
def cluster_places(out: Path, plates: Dataset[Plate], config: ClusterPlacesConfig) -> Iterator[Place | Rejected]:
    """Yield the place of every plate, the same for all plates of a shot; refuse clusters that are too impure.

    A refused cluster's plates keep its number and have no name: no LoRA learns from them.
    """
    network = embedder(config.embedder)
    vectors = embed_files(network, [plates.path(plate.image) for plate in plates], read_rgb, report_progress)
    references = {
        name: embed_files(network, paths, read_rgb, report_progress)
        for name, paths in config.references.items()
        if paths
    }
    pictures = Pictures(vectors, [plate.shot for plate in plates], [plate.image for plate in plates])
    naming = group_and_name(pictures, references, config, called="place")
    write_suggestions(out, naming.suggestions)
    for cluster, purity in naming.refused.items():
        yield Rejected(id=f"cluster-{cluster}", reason="impure_cluster", value=round(purity, 6))
    for plate in plates:
        named = naming.groups[plate.shot]
        yield Place(
            id=f"{plate.id}:place",
            **plate.moment(),
            plate_id=plate.id,
            cluster=named.cluster,
            name=named.name,
            similarity=round(named.similarity, 6),
            probability=round(named.share, 6),
        )
