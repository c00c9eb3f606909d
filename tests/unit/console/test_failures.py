"""Bad credentials are limited by client address; good ones are never."""

from tests.unit.console.surface import AUTHORIZED, Surface, stored

BAD = {"authorization": "Bearer a-wrong-operator-token-of-forty-characters"}
PATH = "/api/v1/provider-keys"


async def test_an_address_that_fails_too_often_has_to_wait_while_a_good_credential_passes() -> None:
    surface = Surface(failures_per_minute=20)
    surface.store(stored())
    answers = [await surface.ask("GET", PATH, headers=BAD) for _ in range(25)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 5
    refused = answers[-1]
    assert (refused.headers["retry-after"], refused.json()["error"]["code"]) == ("3", "too_many_attempts")
    assert refused.headers["connection"] == "close"
    assert (await surface.ask("GET", PATH, headers=AUTHORIZED)).status_code == 200
    surface.now_seconds = 3.0
    assert [(await surface.ask("GET", PATH, headers=BAD)).status_code for _ in range(2)] == [401, 429]


async def test_a_request_without_a_credential_guesses_nothing() -> None:
    surface = Surface(failures_per_minute=1)
    assert [(await surface.ask("GET", PATH, headers={})).status_code for _ in range(5)] == [401] * 5
