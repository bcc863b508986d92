"""`reel2lora up`: Prefect's server where none runs, and all deployments of a project served from this process."""

import http.client
import os
import platform
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from data_contracts.faults import InputFault, StageFault
from data_contracts.project_file import load_project
from flows.shared_server import shared
from tasks.progress import logger

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
START_S = 120.0
API_VARIABLE = "PREFECT_API_URL"
DEFAULT_PORT = 4200
DEFAULT_API = f"http://127.0.0.1:{DEFAULT_PORT}/api"


def api_url() -> str:
    """Return the server's address: the environment's, else the one that prefect.toml names."""
    return os.environ.get(API_VARIABLE) or DEFAULT_API


def is_up(api: str) -> bool:
    """Tell whether a Prefect server answers."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as answer:  # noqa: S310  the user's own server
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException):
        return False


@contextmanager
def running_server() -> Iterator[str]:
    """Point this process's Prefect at a running server, or at one of its own, whose UI lives as long as the run."""
    address = urlsplit(api_url())
    with server(address.hostname or "127.0.0.1", address.port) as api:
        os.environ[API_VARIABLE] = api
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        os.environ["DO_NOT_TRACK"] = "1"
        logger.info("watch it in Prefect's UI: %s", api.removesuffix("/api"))
        try:
            yield api
        finally:
            send_what_waits()


def send_what_waits() -> None:
    """Send the logs and events that Prefect holds back, before a server of our own is stopped."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def serve_project(config: Path, host: str, port: int | None) -> None:
    """Serve a project's deployments until SIGINT or SIGTERM; the server goes with them if it was started here."""
    project = load_project(config)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with server(host, port) as api:
        os.environ[API_VARIABLE] = api
        from prefect import serve  # noqa: PLC0415  it reads the address when it is imported
        from prefect.settings import PREFECT_RUNNER_POLL_FREQUENCY, temporary_settings  # noqa: PLC0415

        from flows.deployments import deployments_of  # noqa: PLC0415

        found = deployments_of(project, config)
        print(f"Prefect's UI: {api.removesuffix('/api')}")
        if api != DEFAULT_API:
            print(f"In other terminals first: export {API_VARIABLE}={api}")
        for each in found:
            print(f"  prefect deployment run {each.name}")
        print("Ctrl-C stops serving.", flush=True)
        # Ctrl-C is how one stops serving, not a failure.
        with suppress(KeyboardInterrupt), temporary_settings({PREFECT_RUNNER_POLL_FREQUENCY: 2}):
            serve(*found, print_starting_message=False, limit=1)


@contextmanager
def server(host: str, port: int | None) -> Iterator[str]:
    """Yield the address of a running server; where none answers, one is started, which the last of its users stops.

    port: None for the one that the environment names, else 4200.

    Raises:
        InputFault: the environment names another port, or the address is open to other machines and no password is set.
        StageFault: the server did not come up.
    """
    named = os.environ.get(API_VARIABLE)
    if named and port not in {None, urlsplit(named).port}:
        message = f"--port {port}: {API_VARIABLE} names {named}, where every command looks: leave out one of the two"
        raise InputFault(message)
    api = named or f"http://{host}:{port or DEFAULT_PORT}/api"
    if named and urlsplit(api).hostname not in LOOPBACK:
        if not is_up(api):
            message = f"no Prefect server answers at {api}, which {API_VARIABLE} names: start it there, or unset "
            raise InputFault(message + API_VARIABLE)
        yield api
        return
    # by machine too: a home may be shared by several
    folder = (
        platformdirs.user_state_path("reel2lora") / f"prefect-{platform.node()}-{urlsplit(api).port or DEFAULT_PORT}"
    )
    with shared(folder, lambda: is_up(api), lambda: start_server(api, host)):
        yield api


def start_server(api: str, host: str) -> "subprocess.Popen[bytes]":
    """Start a server that listens on `host` and the port of `api`; return once it answers.

    Raises:
        InputFault: the address is open to other machines and no password is set.
        StageFault: it did not come up.
    """
    if host not in LOOPBACK and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        message = f"--host {host} opens the server to other machines, who could start runs: set a password in "
        raise InputFault(message + "PREFECT_SERVER_API_AUTH_STRING (and PREFECT_API_AUTH_STRING for clients) first")
    ui = api.removesuffix("/api")
    logger.info("starting Prefect's server at %s: half a minute on a slow machine", ui)
    environment = {
        **os.environ,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ui,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_API_URL": api,
        "DO_NOT_TRACK": "1",
        API_VARIABLE: api,
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(urlsplit(api).port)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until_up(api, child)
    except BaseException:
        child.terminate()
        raise
    return child


def wait_until_up(api: str, child: "subprocess.Popen[bytes]") -> None:
    """Wait for the server's first answer."""
    deadline = time.monotonic() + START_S
    while not is_up(api):
        if child.poll() is not None or time.monotonic() > deadline:
            port = urlsplit(api).port or 0
            message = f"Prefect's server did not come up at {api}: is port {port} taken? Name another, such as "
            raise StageFault(message + f"{API_VARIABLE}=http://127.0.0.1:{port + 1}/api")
        time.sleep(0.3)
