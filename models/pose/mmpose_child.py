"""The other side of `PoseProcess`: answers a line of JSON for each line of JSON, until its input ends.

    python -I models/pose/mmpose_child.py BACKEND [CHECKPOINT]

`mmpose` is RTMPose-m by mmpose's own code, in whose environment nothing of ours is installed; any other name is a pose
estimator of ours. mmpose is imported here and nowhere else.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

CONFIG = ".mim/configs/body_2d_keypoint/rtmpose/body8/rtmpose-m_8xb256-420e_body8-256x192.py"
"""In mmpose's package."""
LIBRARIES: list[Any] = []
"""torch's libraries of operators live as long as somebody holds them."""
Estimate = Callable[[Path, list[float]], list[list[float]]]


def main() -> int:
    """Serve; return the exit code."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print, and standard output is for answers only
    backend, *checkpoint = sys.argv[1:]
    estimate = mmpose(Path(checkpoint[0])) if backend == "mmpose" else ours(backend)
    try:
        tell(answers, {"ready": backend})
        for line in sys.stdin:
            tell(answers, answer(estimate, line))
    except BrokenPipeError:  # the parent is gone, and nobody waits for the answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())
    return 0


def answer(estimate: Estimate, line: str) -> dict[str, Any]:
    """Return the answer to one request."""
    try:
        request = json.loads(line)
        return {"keypoints": estimate(Path(request["image"]), request["box"])}
    except Exception as error:  # noqa: BLE001  the parent is told whatever went wrong
        traceback.print_exc()
        return {"error": str(error) or type(error).__name__}


def tell(answers: TextIO, line: dict[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(line), file=answers, flush=True)


def ours(backend: str) -> Estimate:
    """Return one of our own pose estimators."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from models.pictures import read_rgb  # noqa: PLC0415
    from models.pose import POSE_ESTIMATORS  # noqa: PLC0415

    estimator = POSE_ESTIMATORS.load(backend)

    def estimate(image: Path, box: list[float]) -> list[list[float]]:
        x0, y0, x1, y1 = box
        found: list[list[float]] = estimator.estimate(read_rgb(image), (x0, y0, x1, y1)).tolist()
        return found

    return estimate


def mmpose(checkpoint: Path) -> Estimate:
    """Return mmpose's RTMPose-m of 17 COCO keypoints."""
    import torch  # noqa: PLC0415

    give_torchvision_nms(torch)
    sys.modules["mmcv._ext"] = without_operators("mmcv._ext")
    import mmpose as package  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from mmpose.apis import inference_topdown, init_model  # noqa: PLC0415

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = init_model(str(Path(package.__file__).parent / CONFIG), None, device=device)
    weights = torch.load(checkpoint, map_location=device, weights_only=True)
    missing, _ = model.load_state_dict(weights.get("state_dict", weights), strict=False)
    if missing:
        message = f"{checkpoint.name} lacks {len(missing)} weights of RTMPose-m, such as {missing[0]}: fetch it again"
        raise ValueError(message)

    def estimate(image: Path, box: list[float]) -> list[list[float]]:
        (sample,) = inference_topdown(model, str(image), np.array([box], np.float32), bbox_format="xyxy")
        found = sample.pred_instances
        confidence = np.clip(found.keypoint_scores[0], 0.0, 1.0)
        keypoints: list[list[float]] = np.column_stack([found.keypoints[0], confidence]).tolist()
        return keypoints

    return estimate


def without_operators(name: str) -> ModuleType:
    """Return a module in place of mmcv's compiled operators, which mmcv-lite lacks: a call of one raises."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)

    def operator(attribute: str) -> Callable[..., Any]:
        if attribute.startswith("__"):  # the import system asks for some that a module need not have
            raise AttributeError(attribute)

        def refuse(*_: object, **__: object) -> None:
            message = f"mmcv's operator {attribute} is compiled, and mmcv-lite has none: top-down pose needs none"
            raise NotImplementedError(message)

        return refuse

    module.__getattr__ = operator  # type: ignore[method-assign]
    return module


def give_torchvision_nms(torch: ModuleType) -> None:
    """Define non-maximum suppression where torchvision's compiled operators do not load.

    mmdet imports it though a top-down network never calls it, and without it torchvision cannot be imported at all.
    """
    try:
        import torchvision  # noqa: F401, PLC0415
    except (ImportError, RuntimeError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
        library.impl("nms", suppressed, "CompositeExplicitAutograd")
        LIBRARIES.append(library)


def suppressed(boxes: Any, scores: Any, iou_threshold: float) -> Any:  # noqa: ANN401  torch is the other environment's
    """Return the indices of `(N, 4)` boxes that overlap no surer one by more than the threshold, surest first."""
    order = scores.argsort(descending=True)
    kept = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        corner = boxes[first, :2].maximum(boxes[rest, :2])
        sides = (boxes[first, 2:].minimum(boxes[rest, 2:]) - corner).clamp(min=0)
        overlap = sides.prod(dim=1)
        order = rest[overlap / (areas[first] + areas[rest] - overlap) <= iou_threshold]
    return scores.new_tensor([int(index) for index in kept]).long()


if __name__ == "__main__":
    sys.exit(main())
