"""Lets `prefect deployment run luca-character` do without the flow's name in front.

Prefect wants `build-lora/luca-character`. This plugin's start-up hook, enabled by the repository's prefect.toml, sees
the short form on Prefect's own command line, asks the server which flow has a deployment of that name, and completes
it. The long form always works. It is not what start-up hooks are documented for, so a test watches over it.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from prefect.plugins import HookContext, register_hook

TIMEOUT_S = 10.0


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Complete the deployment's name on the command line.

    Raises:
        SystemExit: no server answers, or no deployment or several have the name; says which, and what to do.
    """
    place = short_name_at(sys.argv)
    if place is None:
        return
    name, api = sys.argv[place], ctx.api_url
    if not api:
        sys.exit(f"No Prefect server is named: run `reel2lora up`, or set PREFECT_API_URL, then run {name!r} again")
    try:
        found = deployments_named(name, api)
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        sys.exit(f"No Prefect server answers at {api} ({reason}): start one with `reel2lora up` and try again")
    if not found:
        sys.exit(f"No deployment is called {name!r}: `reel2lora up` serves them; `prefect deployment ls` lists them")
    if len(found) > 1:
        sys.exit(f"{len(found)} deployments are called {name!r}; name the flow too: {', '.join(found)}")
    sys.argv[place] = found[0]


def short_name_at(arguments: list[str]) -> int | None:
    """Return where `prefect deployment run NAME` has a NAME without its flow, or None."""
    # `python -m prefect` imports its package, and so this plugin, while the first argument is still "-m".
    if not arguments or Path(arguments[0]).name not in {"prefect", "prefect.exe", "-m"}:
        return None
    if arguments[1:3] != ["deployment", "run"] or len(arguments) < 4:  # noqa: PLR2004
        return None
    name = arguments[3]
    return None if name.startswith("-") or "/" in name else 3


def deployments_named(name: str, api: str) -> list[str]:
    """Return `flow/name` of every deployment called `name`."""
    deployments = ask(f"{api}/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
    flows = {str(each["flow_id"]) for each in deployments}
    if not flows:
        return []
    answers = ask(f"{api}/flows/filter", {"flows": {"id": {"any_": sorted(flows)}}})
    return sorted(f"{flow['name']}/{name}" for flow in answers)


def ask(url: str, question: dict[str, object]) -> list[dict[str, object]]:
    """Post a question to Prefect's API with the credentials and the CSRF token that it may ask for."""
    headers = {"Content-Type": "application/json", **credentials(url)}
    request = urllib.request.Request(url, json.dumps(question).encode(), headers)  # noqa: S310  the user's own server
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        rows: list[dict[str, object]] = json.load(answer)
    return rows


def credentials(url: str) -> dict[str, str]:
    """Return the headers for basic authentication and against cross-site requests."""
    import base64  # noqa: PLC0415
    import uuid  # noqa: PLC0415

    headers = {"Prefect-Csrf-Client": str(uuid.uuid4())}
    if secret := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    api = url.split("/api/", maxsplit=1)[0] + "/api"
    token = urllib.request.Request(f"{api}/csrf-token?client={headers['Prefect-Csrf-Client']}", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(token, timeout=TIMEOUT_S) as answer:  # noqa: S310
            headers["Prefect-Csrf-Token"] = json.load(answer)["token"]
    except urllib.error.HTTPError as error:
        if error.code != 422:  # noqa: PLR2004  422: this server checks no tokens
            raise
    return headers
