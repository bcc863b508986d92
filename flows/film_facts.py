"""The stages that all LoRAs of a project share: what is seen in its films."""

from dataclasses import dataclass

from data_contracts.dataset import Dataset
from data_contracts.project import Project
from data_contracts.records import Expression, Frame, Identity, Layer, Place, Plate, Pose
from tasks.cluster_places import cluster_places
from tasks.cluster_poses import cluster_poses
from tasks.estimate_poses import estimate_poses
from tasks.extract_frames import extract_frames
from tasks.identify_characters import identify_characters
from tasks.inpaint_plates import inpaint_plates
from tasks.label_expressions import label_expressions
from tasks.segment_layers import segment_layers


@dataclass(frozen=True)
class Scenery:
    """Frames, the layers cut out of them, and the places behind."""

    frames: Dataset[Frame]
    layers: Dataset[Layer]
    plates: Dataset[Plate]
    places: Dataset[Place]


@dataclass(frozen=True)
class Cast:
    """Who is in the layers, and what they do."""

    identities: Dataset[Identity]
    poses: Dataset[Pose]
    expressions: Dataset[Expression]


def see_scenery(project: Project) -> Scenery:
    """Run the stages from the films to their places."""
    place = project.workspace
    frames = extract_frames(place, project.films, project.extract_frames)
    layers = segment_layers(place, frames, project.segment_layers)
    plates = inpaint_plates(place, frames, layers, frames, layers, project.inpaint_plates)
    places = cluster_places(place, plates, project.cluster_places)
    return Scenery(frames, layers, plates, places)


def see_cast(project: Project, scenery: Scenery) -> Cast:
    """Run the stages that say who the layers show, how they stand and what their faces say."""
    place, frames, layers = project.workspace, scenery.frames, scenery.layers
    identities = identify_characters(place, layers, project.identify_characters)
    poses = estimate_poses(place, layers, frames, project.estimate_poses)
    cluster_poses(place, poses, project.cluster_poses)
    expressions = label_expressions(place, layers, frames, project.label_expressions)
    return Cast(identities, poses, expressions)
