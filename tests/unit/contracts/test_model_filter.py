"""The filter syntax of model lists."""

import pytest

from keyferry.contracts.model_filter import InvalidFilter, filters_in


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("eu", {"eu": True}),
        ("recommended", {"recommended": "any"}),
        ("recommended:", {"recommended": "any"}),
        ("recommended:chat", {"recommended": "chat"}),
        ("provider:openai", {"provider": "openai"}),
        (" eu , provider:openai", {"eu": True, "provider": "openai"}),
        ("provider:openai,provider:mistral", {"provider": "mistral"}),
    ],
)
def test_each_part_sets_its_field(text: str, fields: dict[str, object]) -> None:
    assert filters_in(text) == fields


@pytest.mark.parametrize(
    "text",
    ["", "eu,", "eu:1", "provider", "provider:", "provider:a:b", "provider:\x00", "recommended:a b", "usa", "EU"],
)
def test_anything_else_is_rejected(text: str) -> None:
    with pytest.raises(InvalidFilter):
        filters_in(text)
