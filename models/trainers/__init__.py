"""Trainers: programs that take a `TrainRequest` file and leave a LoRA, run as child processes.

A trainer is a module run as `python -m MODULE REQUEST.json`. It writes `lora.safetensors`, `lora_emb.safetensors` where
words are learnt, and `loss.jsonl` into the request's output folder, events as JSON lines to standard output, and ends
with 0, 1 (an `error` event says why) or 143 (stopped; the same command goes on).

| name     | what trains                            | goes on from                          | families             |
|----------|----------------------------------------|---------------------------------------|----------------------|
| `native` | `native.py`, in our environment        | its checkpoints, to the same bytes    | those of `diffusion` |
| `kohya`  | kohya's sd-scripts, in their own       | their last whole state, close to it   | Stable Diffusion 1.x |
"""

from models.backends import Backend, Backends
from models.trainers.kohya_home import NEEDS

TRAINERS: Backends[str] = Backends(
    "trainer",
    {
        "native": Backend(lambda: "models.trainers.native"),
        "kohya": Backend(lambda: "models.trainers.kohya", NEEDS),
    },
)
"""Each makes the name of its module."""
