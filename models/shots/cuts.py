"""Finding cuts while the film is decoded, half a second behind it."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from models.pictures import Picture
from models.shots.film import FilmFrame

DETECTION_WIDTH = 256  # the score is a mean over pixels; more of them only cost time
WINDOW_S = 0.5
SOFT_SHARE, SOFT_RATIO = 0.4, 2.0


class ContentScore(ContentDetector):  # type: ignore[misc]  # PySceneDetect has no types
    """PySceneDetect's content change, 0..255: the mean difference of hue, saturation and value to the frame before."""

    def of(self, number: int, fps: float, rgb: Picture) -> float:
        """Return the change at frame `number`; frames come in order."""
        height = max(1, round(rgb.shape[0] * DETECTION_WIDTH / rgb.shape[1]))
        small = cv2.resize(rgb, (DETECTION_WIDTH, height), interpolation=cv2.INTER_AREA)
        self.process_frame(FrameTimecode(number, fps), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return float(self._frame_score or 0.0)


@dataclass(frozen=True)
class Waiting:
    """A frame whose neighbourhood is not complete yet."""

    frame: FilmFrame
    score: float


def with_cuts(frames: Iterable[FilmFrame], fps: float, threshold: float) -> Iterator[tuple[FilmFrame, bool]]:
    """Yield each frame and whether it starts a shot.

    A cut changes the picture by `threshold`; or by 0.4 of it and twice as much as any frame within half a second
    does, which finds cuts between two views of one place and leaves fast pans alone (the idea of PySceneDetect's
    adaptive detector, with the neighbours' peak for their mean: animation on twos and fours has still frames between).
    """
    reach, content = max(1, round(WINDOW_S * fps)), ContentScore(threshold)
    before: deque[float] = deque(maxlen=reach)
    window: deque[Waiting] = deque()
    last_cut = -reach

    def settle() -> tuple[FilmFrame, bool]:
        nonlocal last_cut
        waiting = window.popleft()
        peak = max((*before, *(other.score for other in window)), default=0.0)
        strong = waiting.score >= threshold
        soft = waiting.score >= max(SOFT_SHARE * threshold, SOFT_RATIO * peak)
        is_cut = (strong or soft) and waiting.frame.number - last_cut >= reach
        last_cut = waiting.frame.number if is_cut else last_cut
        before.append(waiting.score)
        return waiting.frame, is_cut

    for frame in frames:
        window.append(Waiting(frame, content.of(frame.number, fps, frame.rgb)))
        if len(window) > reach:
            yield settle()
    while window:
        yield settle()
