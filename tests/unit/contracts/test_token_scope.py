"""Values of a client token's scopes are refused where they enter."""

import pytest
from pydantic import BaseModel, ValidationError

from keyferry.contracts.client_token_use import RotateClientToken
from keyferry.contracts.tenancy import CreateClientToken, UpdateClientToken
from services.console.token_bodies import CreateTokenBody, UpdateTokenBody

KEY = "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"
PAGE = "https://app.example.com"
NAMED: dict[str, object] = {"tenant": "acme", "token_id": "tok_1"}
MODELS: tuple[tuple[type[BaseModel], dict[str, object]], ...] = (
    (CreateClientToken, {"tenant": "acme", "label": "l", "digest": "ab" * 32, "last4": "wXyZ"}),
    (UpdateClientToken, NAMED),
    (CreateTokenBody, {"label": "l"}),
    (UpdateTokenBody, {}),
)


@pytest.mark.parametrize(("model", "rest"), MODELS)
@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("allowed_operations", "search.v2", ["", "a b", "a\x00", "a\n", "\ud800", "x" * 65, "é", KEY, 1, None]),
        ("allowed_apis", "chat", ["", "Chat", "images", "chat\x00", "\ud800", "x" * 10_000, KEY, 1, None]),
        (
            "allowed_origins",
            PAGE,
            [
                *("", "null", "*", f"{PAGE}/", f"{PAGE}/path", "app.example.com", "HTTPS://app.example.com", "ftp://x"),
                *(f"{PAGE}:443", "http://x:80", "https://*.example.com", f"{PAGE}\x00", f"{PAGE}\n", "https://\ud800"),
                *("https://" + "x" * 300, f"https://{KEY.lower()}.example.com", f"https://u:{KEY}@h", 1, None),
            ],
        ),
        ("allowed_models", "gpt-4o", ["", "a b", "a\x00", "\ud800", "x" * 201, KEY, 1, None]),
    ],
)
def test_every_scope_takes_its_values_and_no_others(
    model: type[BaseModel], rest: dict[str, object], field: str, good: str, bad: list[object]
) -> None:
    assert getattr(model.model_validate({**rest, field: [good]}), field) == [good]
    for value in bad:
        with pytest.raises(ValidationError) as raised:
            model.model_validate({**rest, field: [good, value]})
        assert KEY not in str(raised.value.errors(include_input=False))
    listings: tuple[object, ...] = ([], good, {}, [good] * 1001)
    for listed in listings:
        with pytest.raises(ValidationError):
            model.model_validate({**rest, field: listed})


@pytest.mark.parametrize("seconds", [-1, 30 * 24 * 3600 + 1, 1.5, "x", None, 10**40])
def test_an_overlap_is_bounded(seconds: object) -> None:
    given = {**NAMED, "digest": "ab" * 32, "last4": "wXyZ"}
    assert RotateClientToken.model_validate({**given, "overlap_seconds": 0}).overlap_seconds == 0
    with pytest.raises(ValidationError):
        RotateClientToken.model_validate({**given, "overlap_seconds": seconds})
