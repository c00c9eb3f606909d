"""What a client token may do, and which pages some token is for."""

import pytest

from keyferry.contracts.token_scope import ClientApi
from keyferry.runtime.http.problem import HttpProblem
from services.ingress.token_origins import TokenOrigins
from services.ingress.token_scopes import check_scopes
from tests.unit.ingress.test_identity import NOW, TOKEN

PAGE = "https://app.example.com"
SCOPED = TOKEN.model_copy(
    update={"allowed_operations": ["search", "invoice"], "allowed_apis": ["chat", "models"], "allowed_origins": [PAGE]}
)


@pytest.mark.parametrize("api", list(ClientApi))
@pytest.mark.parametrize("operation", [None, "anything", "\x00" * 9])
@pytest.mark.parametrize("origin", [None, "null", "https://evil.example"])
def test_a_token_without_scopes_may_do_anything(api: ClientApi, operation: str | None, origin: str | None) -> None:
    check_scopes(TOKEN, api, operation, origin)


def test_what_a_token_may_do_passes() -> None:
    check_scopes(SCOPED, ClientApi.CHAT, "search", None)  # a program sends no origin
    check_scopes(SCOPED, ClientApi.CHAT, "invoice", PAGE)
    check_scopes(SCOPED, ClientApi.MODELS, None, PAGE)  # a list of models has no operation


@pytest.mark.parametrize(
    ("api", "operation", "origin", "expected"),
    [
        (ClientApi.EMBEDDINGS, "search", None, "only be used for chat, models, and this is embeddings"),
        (ClientApi.CHAT, None, None, "operations search, invoice: send one of them in the header X-Operation"),
        (ClientApi.CHAT, "SEARCH", None, "operations search, invoice: X-Operation names another one"),
        (ClientApi.CHAT, "sea\x00rch", None, "X-Operation names another one"),
        (ClientApi.CHAT, "search", "https://evil.example", f"by web pages of {PAGE}"),
        (ClientApi.CHAT, "search", "null", f"by web pages of {PAGE}"),
        (ClientApi.CHAT, "search", "", f"by web pages of {PAGE}"),
        (ClientApi.MODELS, None, f"{PAGE}.evil.example", f"by web pages of {PAGE}"),
    ],
)
def test_everything_else_is_refused_with_what_the_token_may_do(
    api: ClientApi, operation: str | None, origin: str | None, expected: str
) -> None:
    with pytest.raises(HttpProblem) as raised:
        check_scopes(SCOPED, api, operation, origin)
    problem = raised.value
    assert (problem.status, problem.type, problem.code) == (403, "permission_error", "token_scope")
    assert expected in problem.message
    for sent in (operation, origin):
        assert sent in (None, "", "search", PAGE) or str(sent) not in problem.message


def test_a_refusal_names_at_most_twenty() -> None:
    many = TOKEN.model_copy(update={"allowed_operations": [f"op{number}" for number in range(100)]})
    with pytest.raises(HttpProblem, match=r"op19 and 80 more: send") as raised:
        check_scopes(many, ClientApi.CHAT, None, None)
    assert len(raised.value.message) < 400


def test_pages_are_known_while_some_token_is_for_them() -> None:
    origins = TokenOrigins()
    origins.update("a", SCOPED)
    origins.update("b", SCOPED)
    origins.update("c", TOKEN)
    assert PAGE in origins
    origins.update("a", None)
    assert PAGE in origins
    origins.update("b", SCOPED.model_copy(update={"revoked_at": NOW}))
    assert PAGE not in origins
    origins.update("b", SCOPED.model_copy(update={"allowed_origins": ["https://other.example"]}))
    assert (PAGE in origins, "https://other.example" in origins) == (False, True)
