"""One ONNX network under onnxruntime: on the GPU where its package can, else on one CPU thread."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxNetwork:
    """A network with one input and the named outputs.

    Args:
        model: the file, or its bytes.
        given: name of the input.
        wanted: names of the outputs, in the order in which they are returned; none: all, in the model's own order.

    Raises:
        ValueError: the model has no input or output of such a name.
    """

    def __init__(self, model: Path | bytes, given: str, wanted: tuple[str, ...] = ()) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = (
            1  # stages run shots side by side; more threads a network would only get in the way
        )
        options.inter_op_num_threads = 1
        known = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=[name for name in PROVIDERS if name in known],
        )
        inputs = [node.name for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        if inputs != [given] or not set(wanted) <= set(outputs):
            message = f"the ONNX model takes {inputs} and gives {outputs}, not {[given]} and {list(wanted)}: "
            message += "it is another network's file; fetch the one that the backend pins"
            raise ValueError(message)
        self._given, self._wanted = given, list(wanted) or outputs

    def __call__(self, values: Floats) -> list[Floats]:
        """Return the wanted outputs for one batch `(N, ...)` float32."""
        return [np.asarray(output, np.float32) for output in self._session.run(self._wanted, {self._given: values})]
