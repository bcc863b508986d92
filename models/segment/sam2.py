"""SAM 2 on a shot: prompted by a detector's boxes in a few frames, it follows what they hold through all the others.

An automatic mask is an object in one frame, mostly not a character; a track is one character in all of them. The image
encoder sees each frame once, or once more where an object is followed back; memory of what was seen is kept for as
many frames as the network looks back, so that a long shot takes no more of it than a short one.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Sam2VideoInferenceSession

from models.segment import Image, TrackMask
from models.segment.boxes import Box
from models.segment.detect import Detector
from models.segment.detect.automatic import AutomaticMasks
from models.segment.layering import Sighting, layer_frame
from models.segment.prompts import KEY_EVERY
from models.segment.propagation import WINDOW, Propagation
from models.segment.sam2_network import Features, Sam2Network

logger = logging.getLogger(__name__)
FEATURES_HELD = KEY_EVERY + 2  # frames; from one key frame back to the one before
BOX_CORNERS = (2, 3)  # labels of the two points that make a box


class Sam2Segmenter:
    """The `sam2-…` backends; without a detector, SAM 2's automatic masks propose what is followed."""

    def __init__(self, folder: Path, detector: Detector | None, window: int = WINDOW) -> None:
        self._network = Sam2Network(folder)
        self._window = window
        if detector is None:
            logger.warning(
                "segment_layers.detector is null: SAM 2's automatic masks propose the characters, and most of them "
                "are none; name one, such as grounding-dino"
            )
        self._detector = detector or AutomaticMasks(self._network)

    def segment_shot(self, frames: Sequence[Image]) -> Iterator[TrackMask]:
        """Yield the masks of one shot (see `Segmenter`); at most a window's masks are held at once."""
        if not frames:
            return
        size = (frames[0].shape[0], frames[0].shape[1])
        shot = Sam2Shot(self._network, frames)
        propagation = Propagation(shot, lambda index: self._boxes(frames[index]), len(frames), size)
        for index, sightings in propagation.run(self._window):
            yield from layer_frame(index, sightings, size)

    def _boxes(self, frame: Image) -> list[Box]:
        return [found.box for found in self._detector.detect(frame)]


class Sam2Shot:
    """An `ObjectTracker`: the network on the frames of one shot; the features of the latest few are held."""

    def __init__(self, network: Sam2Network, frames: Sequence[Image]) -> None:
        self.network = network
        self.frames = frames
        self._features: OrderedDict[int, Features] = OrderedDict()

    def start(self, index: int, box: Box) -> tuple["Sam2Object", Sighting]:
        """Show the network the object in `box`, pixels of frame `index`; return what follows it, and its mask."""
        followed = Sam2Object(self, index)
        return followed, followed.prompt(box)

    def features(self, index: int) -> Features:
        """Return what the image encoder makes of frame `index`."""
        if index not in self._features:
            self._features[index] = self.network.features(self.frames[index])
            if len(self._features) > FEATURES_HELD:
                self._features.popitem(last=False)
        self._features.move_to_end(index)
        return self._features[index]


class Sam2Object:
    """A `FollowedObject`: one object's session, with the memory that the network may still look back at.

    A session an object, so that each can be followed where it has to be, and given up; they share the features. In one
    session, a prompt for a new object would also harden the memory of those already followed.
    """

    def __init__(self, shot: Sam2Shot, birth: int) -> None:
        self._shot, self._model, self._birth = shot, shot.network.model, birth
        self._session = _session(shot)
        self._session.obj_id_to_idx(1)

    def prompt(self, box: Box) -> Sighting:
        """Return the object in `box`, pixels of the frame of its birth."""
        height, width = self._shot.frames[0].shape[:2]
        corners = self._shot.network.to_square(np.array(box).reshape(1, 1, 2, 2), (height, width))
        labels = torch.tensor([[BOX_CORNERS]], dtype=torch.int32)
        self._session.add_point_inputs(0, self._birth, {"point_coords": corners, "point_labels": labels})
        self._session.obj_with_new_inputs = [1]
        return self.look(self._birth, reverse=False)

    def look(self, index: int, *, reverse: bool) -> Sighting:
        """Return the object in frame `index`, the next one on or, in `reverse`, the next one back."""
        self._session.cache.cache_vision_features(index, self._shot.features(index))
        found = self._model(self._session, frame_idx=index, reverse=reverse)
        self._session.cache.clear_all()
        self._forget(index)
        logits = found.pred_masks[0, 0].float().cpu().numpy()
        return Sighting(logits, float(found.object_score_logits.flatten()[0].float().sigmoid()))

    def _forget(self, index: int) -> None:
        """Drop what the network will not look back at, going on from `index` or from the object's birth."""
        memory = self._session.output_dict_per_obj[0]
        prompted, followed = memory["cond_frame_outputs"], memory["non_cond_frame_outputs"]
        for output in (*prompted.values(), *followed.values()):
            output.pop("high_res_masks", None)
            output.pop("pred_masks", None)
        for frame in list(followed):
            away = min(abs(frame - index), abs(frame - self._birth))
            if away >= self._model.config.max_object_pointers_in_encoder:
                del followed[frame]
            elif away >= self._model.config.num_maskmem:
                followed[frame].pop("maskmem_features", None)
                followed[frame].pop("maskmem_pos_enc", None)


def _session(shot: Sam2Shot) -> Any:  # noqa: ANN401
    """Return a session of transformers that makes the pixels of a frame when it is asked for them."""
    network = shot.network
    session = Sam2VideoInferenceSession(
        video_height=shot.frames[0].shape[0],
        video_width=shot.frames[0].shape[1],
        inference_device=network.device,
        inference_state_device=network.device,
        video_storage_device=network.device,
        dtype=network.dtype,
    )
    lazy: Any = _Pixels(shot)
    session.processed_frames = lazy
    return session


class _Pixels:
    """The frames of a shot as a session holds them, each made when it is asked for."""

    def __init__(self, shot: Sam2Shot) -> None:
        self._shot = shot

    def __len__(self) -> int:
        return len(self._shot.frames)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._shot.network.pixels(self._shot.frames[index])
