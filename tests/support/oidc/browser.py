"""A browser as far as signing in needs one: cookies by host and port, redirects one by one, and forms that are filled in."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx

from tests.support.waiting import TIMEOUT_SECONDS

_MAX_STEPS = 20


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = found.get("action") or ""
        elif tag in ("input", "button") and (name := found.get("name")) is not None:
            self.fields[name] = found.get("value") or ""


class Browser:
    """One person's browser. Cookies are kept by origin, as hosts of tests differ by their port alone."""

    def __init__(self) -> None:
        self._clients: dict[str, httpx.AsyncClient] = {}
        self.visited: list[str] = []

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    def client(self, url: str) -> httpx.AsyncClient:
        """Return the client for the origin of `url`, with its cookies."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            self._clients[origin] = httpx.AsyncClient(base_url=origin, trust_env=False, timeout=TIMEOUT_SECONDS)
        return self._clients[origin]

    async def send(
        self, method: str, url: str, *, form: Mapping[str, str] | None = None, **more: object
    ) -> httpx.Response:
        """Send one request, without following redirects."""
        self.visited.append(url)
        return await self.client(url).request(method, url, data=form, follow_redirects=False, **more)  # type: ignore[arg-type]  # passed on

    async def sign_in(self, url: str, person: str, stop_at: str | None = None) -> httpx.Response:
        """Open `url`, fill in every form as `person`, and return the answer that leads no further.

        With `stop_at`, return the redirect to an address that begins like that, instead of following it.
        """
        answer = await self.send("GET", url)
        for _ in range(_MAX_STEPS):
            here = str(answer.request.url)
            if answer.is_redirect:
                target = urljoin(here, answer.headers["location"])
                if stop_at is not None and target.startswith(stop_at):
                    return answer
                answer = await self.send("GET", target)
                continue
            form = _Form()
            if answer.headers.get("content-type", "").startswith("text/html"):
                form.feed(answer.text)
            if form.action is None:
                return answer
            filled = form.fields | {name: value for name, value in _filled(person).items() if name in form.fields}
            answer = await self.send("POST", urljoin(here, form.action or here), form=filled)
        raise AssertionError(f"no end of redirects and forms: {self.visited[-5:]}")


def _filled(person: str) -> dict[str, str]:
    return {"login": person, "password": "any password will do"}
