"""Objects followed through a shot in both directions, and prompted again where they are lost or new ones appear.

The frames are gone through once. At each key frame the detector is asked; a box that no followed object explains
starts an object there, which is followed back at once and then on with the others. Going back, it may meet a track
that was lost in between: then it is the same character, and takes that track over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.segment.boxes import Box
from models.segment.layering import Sighting, mask_iou
from models.segment.prompts import key_frames, new_boxes, windows

WINDOW = 64  # frames whose masks are held at once: 21 s of film at three a second
SAME = 0.5  # IoU of two masks in one frame from which they are one character
PATIENCE = 6  # frames without a sight, going back, after which the object was not there yet
MAX_LOST = 24  # frames without a sight, going on, after which an object has left
MAX_OBJECTS = 20  # followed at once
MIN_SIGHTINGS = 2  # in shots long enough to see a character twice


class FollowedObject(Protocol):
    """One object that a network has been shown in one frame of a shot."""

    def look(self, index: int, *, reverse: bool) -> Sighting:
        """Return the object in frame `index`, the next one on or, in `reverse`, the next one back."""
        ...


class ObjectTracker(Protocol):
    """A network at work on one shot."""

    def start(self, index: int, box: Box) -> tuple[FollowedObject, Sighting]:
        """Show it the object in `box`, pixels of frame `index`; return what follows it, and its mask there."""
        ...


@dataclass(eq=False)
class _Track:
    sightings: int = 0
    number: int | None = None


@dataclass(eq=False)
class _Object:
    followed: FollowedObject
    track: _Track
    last: int  # frame where it was seen last
    box: Box


class Propagation:
    """One shot of `frames` frames of `size` (height, width); `find` returns the detector's boxes in a frame."""

    def __init__(
        self, tracker: ObjectTracker, find: Callable[[int], Sequence[Box]], frames: int, size: tuple[int, int]
    ) -> None:
        self._tracker = tracker
        self._find = find
        self._frames = frames
        self._size = size
        self._objects: list[_Object] = []
        self._seen: dict[int, dict[_Track, Sighting]] = {}
        self._numbers = 0

    def run(self, longest: int = WINDOW) -> Iterator[tuple[int, dict[int, Sighting]]]:
        """Yield each frame in order with what is seen in it by track; masks of about `longest` frames are held."""
        keys = key_frames(self._frames)
        for window in windows(self._frames, keys, longest):
            self._seen = {index: {} for index in window}
            for index in window:
                self._go_on(index)
                if index in keys:
                    self._ask(index)
            yield from self._numbered()

    def _go_on(self, index: int) -> None:
        for known in self._objects:
            sighting = known.followed.look(index, reverse=False)
            if sighting.seen:
                self._seen[index][known.track] = sighting
                known.last, known.box = index, sighting.box(self._size)
        self._objects = [known for known in self._objects if index - known.last <= MAX_LOST]

    def _ask(self, index: int) -> None:
        boxes = self._find(index)
        here = [known.box for known in self._objects if known.last == index]
        for number in new_boxes(boxes, here):
            if len(self._objects) < MAX_OBJECTS:
                self._start(index, boxes[number])

    def _start(self, index: int, box: Box) -> None:
        followed, sighting = self._tracker.start(index, box)
        if not sighting.seen or self._met(index, sighting) is not None:
            return
        known = _Object(followed, _Track(), index, sighting.box(self._size))
        self._objects.append(known)
        self._seen[index][known.track] = sighting
        self._go_back(known)

    def _go_back(self, known: _Object) -> None:
        missed = 0
        for index in range(known.last - 1, min(self._seen) - 1, -1):
            sighting = known.followed.look(index, reverse=True)
            if sighting.seen:
                missed = 0
                if (met := self._met(index, sighting)) is not None:
                    self._join(known, met)
                    return
                self._seen[index][known.track] = sighting
            elif (missed := missed + 1) > PATIENCE:
                return

    def _met(self, index: int, sighting: Sighting) -> _Track | None:
        """Return the track whose mask in the frame is this one, or None."""
        for track, other in self._seen[index].items():
            if mask_iou(sighting, other) >= SAME:
                return track
        return None

    def _join(self, known: _Object, met: _Track) -> None:
        """Give the object to the track that it met, unless some frame shows both apart."""
        if any(met in frame and known.track in frame for frame in self._seen.values()):
            return
        for frame in self._seen.values():
            if known.track in frame:
                frame[met] = frame.pop(known.track)
        self._objects = [other for other in self._objects if other.track is not met]
        known.track = met

    def _numbered(self) -> Iterator[tuple[int, dict[int, Sighting]]]:
        """Yield the frames of the window; what is seen once only has no number yet and is left out."""
        order = [track for frame in self._seen.values() for track in frame]
        for track in order:
            track.sightings += 1
        for track in order:
            if track.number is None and track.sightings >= min(MIN_SIGHTINGS, self._frames):
                track.number, self._numbers = self._numbers, self._numbers + 1
        for index, frame in self._seen.items():
            yield index, {track.number: seen for track, seen in frame.items() if track.number is not None}
