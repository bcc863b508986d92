"""A process that shares the steps of a training: `python -m models.trainers.helper REQUEST.json RANK SIZE MEETING`."""

import os
import signal
import sys
from io import FileIO
from pathlib import Path
from threading import Thread

from data_contracts.training import TrainRequest
from models.child import prepare_torch
from models.trainers.native import Learner
from models.trainers.team import joined


def main() -> int:
    """Do one's share of each step until the leader says that it was the last, or is gone; return the exit code."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader decides, after which step
    Thread(target=_end_with_the_leader, daemon=True).start()
    file, rank, size, meeting = sys.argv[1:]
    request = TrainRequest.model_validate_json(Path(file).read_text(encoding="utf-8"))
    prepare_torch(request.threads, deterministic=True, processes=int(size))
    with joined(int(rank), int(size), Path(meeting)) as team:
        learner = Learner(request, team)
        learner.set_aside_readers()
        step = learner.saved.step if learner.saved else 0
        try:
            while team.goes_on():
                learner.trainer.step(step)
                step += 1
        except FloatingPointError as error:  # the leader raises it too, and tells of it
            print(error, file=sys.stderr)
    return 0


def _end_with_the_leader() -> None:
    """Wait until standard input ends, which the leader holds, and then end at once: there is nothing to be kept."""
    with FileIO(0, closefd=False) as leash:
        while leash.read(1):
            pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
