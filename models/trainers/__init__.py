"""Trainers: programs that take a `TrainRequest` file and leave a LoRA, run as child processes.

A trainer is a function of a request's file. It writes `lora.safetensors`, `lora_emb.safetensors` where words are
learnt, and `loss.jsonl` into the request's output folder and tells of events; `models.child` says how it is stopped,
and goes on. By hand: `python -m models.trainers.native REQUEST.json`.

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
        "native": Backend(lambda: "models.trainers.native:train"),
        "kohya": Backend(lambda: "models.trainers.kohya:train", NEEDS),
    },
)
"""Each makes the name of its function."""
