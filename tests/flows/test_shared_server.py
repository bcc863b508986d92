"""A server that several processes use lives from the first to the last of them, however they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import psutil
import pytest

from flows.shared_server import RECORD, shared
from tests.small_project import ROOT

LEAVES_WITHOUT_A_WORD = """
import os, signal, sys
from pathlib import Path
from tests.flows.test_shared_server import is_up, start
from flows.shared_server import shared
folder, port = Path(sys.argv[1]), int(sys.argv[2])
with shared(folder, lambda: is_up(port), lambda: start(port, [])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(port: int, started: list[int]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while not is_up(port):
        time.sleep(0.02)
    started.append(child.pid)
    return child


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_of_two_that_begin_at_once_one_starts_it_and_the_later_to_leave_stops_it(tmp_path, port):
    started: list[int] = []
    both_use_it, seen = threading.Barrier(2), []

    def use(stays: float) -> None:
        with shared(tmp_path, partial(is_up, port), partial(start, port, started)):
            both_use_it.wait(20)
            time.sleep(stays)
            seen.append(is_up(port))

    threads = [threading.Thread(target=use, args=(stays,)) for stays in (0, 0.5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True, True]
    assert len(started) == 1
    assert not is_up(port)
    assert not (tmp_path / RECORD).exists()


def test_what_a_killed_user_left_running_is_used_and_stopped_by_the_next(tmp_path, port):
    killed = subprocess.run([sys.executable, "-c", LEAVES_WITHOUT_A_WORD, tmp_path, str(port)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert is_up(port)
    started: list[int] = []
    with shared(tmp_path, partial(is_up, port), partial(start, port, started)):
        assert is_up(port)
    assert started == []
    assert not is_up(port)


def test_a_server_that_was_started_elsewhere_is_left_running(tmp_path, port):
    child = start(port, [])
    # the record of an earlier server whose number another process has now
    (tmp_path / RECORD).write_text(json.dumps({"pid": child.pid, "started": 1.0}))
    try:
        with shared(tmp_path, partial(is_up, port), partial(start, port, [])):
            pass
        assert is_up(port)
        assert psutil.pid_exists(child.pid)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_a_server_that_hangs_is_ended_before_another_is_started(tmp_path, port):
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started_at = psutil.Process(hanging.pid).create_time()
    (tmp_path / RECORD).write_text(json.dumps({"pid": hanging.pid, "started": started_at}))
    with shared(tmp_path, partial(is_up, port), partial(start, port, [])):
        assert hanging.wait(5) == -signal.SIGTERM
        assert is_up(port)
    assert not is_up(port)
