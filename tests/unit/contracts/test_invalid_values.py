"""pydantic's errors in plain English: which branch of a union counts, and what is said of each kind of error."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from keyferry.contracts.invalid_values import format_path, invalid_values


class Part(BaseModel):
    text: str


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    number: Annotated[float, Field(gt=0, lt=10)] = 1
    amount: Decimal = Decimal(0)
    count: int = 1
    choice: Literal["a", "b"] = "a"
    letters: Annotated[str, StringConstraints(min_length=2, pattern="^[a-z]+$")] = "ab"
    pair: Annotated[dict[str, int], Field(min_length=1, max_length=2)] = {"a": 1}
    named: dict[Annotated[str, StringConstraints(max_length=3)], int] = {}
    moment: datetime | None = None
    aware: AwareDatetime | None = None
    mixed: int | float | list[int] | dict[str, int] | None = None
    parts: str | list[Part] | None = None
    checked: int = 1

    @field_validator("checked")
    @classmethod
    def _check(cls, value: int) -> int:
        if value == 13:
            raise ValueError("this is an unlucky number")
        return value


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"number": "x"}, "number", "it should be a number"),
        ({"number": 0}, "number", "it should be greater than 0"),
        ({"number": 10}, "number", "it should be less than 10"),
        ({"count": None}, "count", "it should be an integer"),
        ({"choice": "c"}, "choice", "it should be 'a' or 'b'"),
        ({"letters": "a"}, "letters", "it should be a string of at least 2 characters"),
        ({"letters": "A1"}, "letters", "it should be a string that matches ^[a-z]+$"),
        ({"pair": {}}, "pair", "it should be an object with at least 1 item"),
        ({"pair": {"a": 1, "b": 2, "c": 3}}, "pair", "it should be an object with at most 2 items"),
        ({"pair": {"a": "x"}}, "pair.a", "it should be an integer"),
        ({"named": {"long": 1}}, "named.long", "its name should be a string of at most 3 characters"),
        ({"moment": "soon"}, "moment", "it should be a date and time with its time zone, such as 2027-01-31T00:00:00Z"),
        (
            {"aware": "2027-01-31T00:00:00"},
            "aware",
            "it should be a date and time with its time zone, such as 2027-01-31T00:00:00Z",
        ),
        ({"mixed": "x"}, "mixed", "it should be a number, an array or an object"),
        ({"mixed": [1, "x"]}, "mixed[1]", "it should be an integer"),
        ({"mixed": {"a": "x"}}, "mixed.a", "it should be an integer"),
        ({"parts": 5}, "parts", "it should be a string or an array"),
        ({"parts": [{"text": "x"}, {}]}, "parts[1].text", "this is required"),
        ({"parts": [{"text": 5}]}, "parts[0].text", "it should be a string"),
        ({"checked": 13}, "checked", "this is an unlucky number"),
        ({"chekced": 1}, "chekced", "there is no such field"),
    ],
)
def test_reason(fields: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Form.model_validate_json(json.dumps(fields))
    (found,) = invalid_values(raised.value.errors())
    assert (format_path(found.path), found.reason) == (path, reason)


def test_each_wrong_field_is_named_once_and_in_order() -> None:
    with pytest.raises(ValidationError) as raised:
        Form.model_validate({"mixed": "x", "count": "x", "parts": 5})
    assert [found.path for found in invalid_values(raised.value.errors())] == [("count",), ("mixed",), ("parts",)]


def test_of_very_many_errors_the_first_are_explained() -> None:
    class Many(BaseModel):
        numbers: list[int]

    with pytest.raises(ValidationError) as raised:
        Many.model_validate({"numbers": ["x"] * 1000})
    assert len(invalid_values(raised.value.errors())) == 100


@pytest.mark.parametrize(
    ("path", "text"),
    [((), ""), (("a",), "a"), (("a", 0, "b", 1, 2), "a[0].b[1][2]"), ((0, "a"), "[0].a")],
)
def test_paths_are_in_openais_notation(path: tuple[int | str, ...], text: str) -> None:
    assert format_path(path) == text


def test_values_are_not_repeated() -> None:
    with pytest.raises(ValidationError) as raised:
        Form.model_validate(
            {"number": "sk-secret", "choice": "sk-secret", "letters": "sk-secret", "mixed": "sk-secret"}
        )
    assert "secret" not in repr(invalid_values(raised.value.errors()))
