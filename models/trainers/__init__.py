"""Trainers: programs that take a `TrainRequest` file and leave a LoRA, run as child processes.

A trainer is a module run as `python -m MODULE REQUEST.json`. It writes `lora.safetensors` and `loss.jsonl` into the
request's output folder, events as JSON lines to standard output, and ends with 0, 1 (an `error` event says why) or
143 (stopped; the same command goes on).
"""

BACKENDS = {"native": "models.trainers.native"}
