"""What the pictures are worth: shots, masks, keypoints and plates against the truth; one function a family."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.records import Plate, Pose
from flows.measuring.truth_join import TruthJoin, fitted
from models.metrics.boundaries import boundary_scores
from models.metrics.figure import Figures, figure, mean, present, share
from models.metrics.keypoints import correct_keypoints
from models.metrics.psnr import psnr_db, squared_errors
from models.registration.masks import dilate

PCK_FRACTION = 0.1
FAR_AT_720P = 75  # pixels; most shadows end before
PROVENANCE = ("own", "neighbour", "network", "other_shot", "unsure")
TRUE_SOURCES = ("neighbour", "other_shot")


def shot_figures(join: TruthJoin) -> Figures:
    """Score the shot boundaries: one counts when it falls on the picture that begins a true shot."""
    starts = sorted({frame.shot_start for frame in join.frames} - {0})
    predicted, truth = [start // join.hold for start in starts], join.truth.boundaries
    scores = boundary_scores(predicted, truth)
    return present(
        shots_precision=figure(scores.precision, len(predicted), "share of the predicted boundaries"),
        shots_recall=figure(scores.recall, len(truth), "share of the true boundaries"),
        shots_f1=figure(scores.f1, len(truth), "harmonic mean; true boundaries"),
    )


def mask_figures(join: TruthJoin) -> Figures:
    """Score the masks at pixel level: all characters together, each alone, and frames where nobody is."""
    overlaps = list(join.overlaps.values())
    together = [overlap.together for overlap in overlaps if overlap.together is not None]
    empty = [overlap.has_layer for overlap in overlaps if not overlap.alone]
    alone: dict[str, list[float]] = {}
    for overlap in overlaps:
        for name, value in overlap.alone.items():
            alone.setdefault(name, []).append(value)
    note = "frames with a layer though nobody is seen; frames with nobody"
    figures = present(
        mask_iou=figure(mean(together), len(together), "mean over frames in which truth or result has a character"),
        mask_false_positive_frames=figure(float(sum(empty)) if empty else None, len(empty), note, "lower"),
    )
    for name, values in sorted(alone.items()):
        note = f"mean over frames that show {name}, 0 without a layer"
        figures |= present(**{f"mask_iou_{name}": figure(mean(values), len(values), note)})
    return figures


def keypoint_figures(join: TruthJoin, rows: Dataset[Pose]) -> Figures:
    """Score the keypoints of bodies that are wholly inside the picture, and how many such bodies were found."""
    sizes = {frame.frame: (frame.width, frame.height) for frame in join.frames}
    bodies = {
        (frame.frame, character.id)
        for frame in join.frames
        for character in join.picture(frame.frame).characters
        if character.is_full_body
    }
    found: set[tuple[int, str]] = set()
    correct, scored = 0, 0
    for row in rows.where("full_body", value=True):
        character = join.layer_truth.get(join.known_layer(row.layer_id))
        if character is None or (row.frame, character.id) not in bodies:
            continue
        found.add((row.frame, character.id))
        scale = np.divide(join.truth.size, sizes[row.frame])  # (2,): truth pixels a frame pixel, x and y
        predicted = np.array([point[:2] for point in row.keypoints], np.float64) * scale
        correct += correct_keypoints(predicted, character.points, PCK_FRACTION)
        scored += len(row.keypoints)
    note = f"share within {PCK_FRACTION} of the body's height; keypoints of full bodies"
    return present(
        keypoint_pck=figure(share(correct, scored), scored, note),
        keypoint_coverage=figure(
            share(len(found), len(bodies)), len(bodies), "share of the true full bodies that a full-body pose is of"
        ),
    )


def plate_figures(join: TruthJoin, rows: Dataset[Plate]) -> Figures:
    """Score what was painted where characters stood, where the truth has a plate: all of it, and by its source.

    Beside it stands what the film's own pixels score far from characters and their shadows: its compression is what
    true pixels cannot exceed.
    """
    errors, pixels = np.zeros(len(PROVENANCE)), np.zeros(len(PROVENANCE), np.int64)
    film_error, film_pixels, plates = 0.0, 0, 0
    for row in rows:
        picture = join.picture(row.frame)
        truth, inside = join.truth.plate(picture), join.truth.mask_values(picture) > 0
        if truth is None or not inside.any():
            continue
        size = (truth.shape[1], truth.shape[0])
        predicted = fitted(np.asarray(Image.open(rows.path(row.image)).convert("RGB")), size)
        kinds = fitted(np.asarray(Image.open(rows.path(row.provenance)).convert("L")), size, classes=True)
        plate_errors, plate_pixels = squared_errors(predicted, truth, inside, kinds, len(PROVENANCE))
        errors, pixels = errors + plate_errors, pixels + plate_pixels
        away = ~dilate(inside, FAR_AT_720P)
        own = PROVENANCE.index("own")
        far_errors, far_pixels = squared_errors(predicted, truth, away, kinds, len(PROVENANCE))
        film_error, film_pixels = film_error + float(far_errors[own]), film_pixels + int(far_pixels[own])
        plates += 1
    note = "dB, the film's own pixels far from characters; plates"
    film = figure(psnr_db(film_error, film_pixels), plates, note)
    return _plate_figures(errors, pixels) | present(plate_psnr_film_db=film)


def _plate_figures(errors: NDArray[np.float64], pixels: NDArray[np.int64]) -> Figures:
    """Return the figures of the squared errors and pixels of each source."""
    total = int(pixels.sum())
    note = "dB, inside the true characters; pixels"
    true = [PROVENANCE.index(kind) for kind in TRUE_SOURCES]
    count = int(pixels[true].sum())
    figures = present(
        plate_psnr_db=figure(psnr_db(float(errors.sum()), total), total, note),
        plate_psnr_true_db=figure(psnr_db(float(errors[true].sum()), count), count, f"{note} that frames agree on"),
    )
    for kind, error, count in zip(PROVENANCE, errors.tolist(), pixels.tolist(), strict=True):
        figures |= present(
            **{
                f"plate_psnr_{kind}_db": figure(psnr_db(error, count), count, f"{note} from {kind}"),
                f"plate_share_{kind}": figure(
                    share(count, total),
                    total,
                    f"share of those pixels from {kind}",
                    "higher" if kind in TRUE_SOURCES else "lower",
                ),
            }
        )
    return figures
