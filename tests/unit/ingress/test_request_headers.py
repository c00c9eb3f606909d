"""Headers of ours: what they mean, and that a wrong one is named."""

import pytest

from services.ingress import request_headers
from services.ingress.problem import Problem


@pytest.mark.parametrize(
    ("text", "wish"),
    [(None, None), ("true", "first"), ("True", "first"), ("false", "last"), (" only ", "only"), ("ONLY", "only")],
)
def test_whose_keys_are_wanted(text: str | None, wish: str | None) -> None:
    assert request_headers.own_keys(text) == wish


@pytest.mark.parametrize("text", ["", "yes", "1", "first", "true,false"])
def test_another_wish_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(Problem, match="true, false or only") as refused:
        request_headers.own_keys(text)
    assert (refused.value.status, refused.value.param) == (400, "X-Prefer-BYOK")


def test_tags_are_pairs() -> None:
    assert request_headers.tags("lead_id=42, team=blue") == {"lead_id": "42", "team": "blue"}
    assert request_headers.tags(None) == {}


@pytest.mark.parametrize("text", ["nothing", "a=b=c", "=b", ",".join(f"t{n}=1" for n in range(17))])
def test_wrong_tags_are_refused(text: str) -> None:
    with pytest.raises(Problem, match="name=value") as refused:
        request_headers.tags(text)
    assert refused.value.param == "x-keyferry-tags"


def test_operations_have_plain_names() -> None:
    assert request_headers.operation("email_generation") == "email_generation"
    assert request_headers.operation(None) is None
    with pytest.raises(Problem) as refused:
        request_headers.operation("a b")
    assert refused.value.param == "X-Operation"
