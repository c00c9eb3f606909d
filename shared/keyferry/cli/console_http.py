"""Requests to a console to sign in and out: where it is, and how its errors are shown."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyferry.cli.installation import find_home, read_state
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import URL_SETTING, normalize_url

if TYPE_CHECKING:
    import httpx

_SECONDS = 20.0
_MAX_MESSAGE_CHARACTERS = 500


def console_url(given: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address of the console: the given one, KEYFERRY_URL, or that of the installation here. Raises Problem."""
    if url := given or environment.get(URL_SETTING):
        return normalize_url(url)
    home = find_home(environment)
    url = read_state(home).console_url if home else None
    if url is None:
        raise Problem(
            "there is no installation here, so it is unknown where to sign in",
            f"Name the console with --url or {URL_SETTING}, or run `make up` and sign in from its directory",
        )
    return normalize_url(url)


def send(
    url: str, method: str, path: str, *, token: str | None = None, body: Mapping[str, object] | None = None
) -> tuple[int, Mapping[str, Any]]:
    """Return the status and the JSON of an answer. Raises Problem if none arrives."""
    import httpx  # takes a tenth of a second to load, which other commands save

    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        # Neither proxies nor .netrc of the environment: the session goes to this address only.
        with httpx.Client(base_url=url, trust_env=False, timeout=_SECONDS) as client:
            response = client.request(method, path, headers=headers, json=body)
    except httpx.TransportError as error:
        raise Problem(
            f"{url} does not answer ({type(error).__name__})", "Is the address right, and does the console run?"
        ) from None
    return response.status_code, _content(response)


def error_of(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return the code and the message of an error."""
    error = content.get("error")
    if not isinstance(error, dict):
        return "", "the answer is not one of the management API"
    return str(error.get("code", "")), str(error.get("message", ""))[:_MAX_MESSAGE_CHARACTERS]


def _content(response: "httpx.Response") -> Mapping[str, Any]:
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
