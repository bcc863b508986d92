"""Group the plates into places, and give these the names of their references."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Place, Plate, Rejected
from data_contracts.stages import ClusterPlacesConfig
from models.embed import EMBEDDERS
from models.embed.naming import Named, group_and_name
from models.pictures import read_rgb
from models.sheets import places_sheet
from tasks.stage import stage

embedder = lru_cache(maxsize=2)(EMBEDDERS.load)


@stage(Place, version=1, sheet=places_sheet)
def cluster_places(out: Path, plates: Dataset[Plate], config: ClusterPlacesConfig) -> Iterator[Place | Rejected]:  # noqa: ARG001
    """Yield the place of every plate; all plates of a shot show the same place."""
    network = embedder(config.embedder)
    vectors = network.embed([read_rgb(plates.path(plate.image)) for plate in plates])
    references = {
        name: network.embed([read_rgb(path) for path in paths]) for name, paths in config.references.items() if paths
    }
    shots = group_and_name(vectors, [plate.shot for plate in plates], references, config, called="place")
    for plate in plates:
        named: Named = shots[plate.shot]
        yield Place(
            id=f"{plate.id}:place",
            **plate.moment(),
            plate_id=plate.id,
            cluster=named.cluster,
            name=named.name,
            similarity=round(named.similarity, 6),
            probability=round(named.share, 6),
        )
