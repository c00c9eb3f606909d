"""The rules of `auto`, the kinds of requests, and expected answers."""

import pytest

from keyferry.contracts.features import PowerLevel, RequestFeatures
from services.router.power.levels import choose_auto_level, expected_output_tokens, kind_of
from services.router.power.quality import Kind

ECO, BALANCED, PRECISION = PowerLevel


@pytest.mark.parametrize(
    ("features", "level", "detail"),
    [
        ({}, ECO, "auto chose eco: about 0 tokens of input (0 points)"),
        ({"input_tokens": 1_999}, ECO, "auto chose eco: about 1 999 tokens of input (0 points)"),
        ({"input_tokens": 2_000}, BALANCED, "(1 points)"),
        ({"tools": True}, BALANCED, "auto chose balanced: tools, about 0 tokens of input (1 points)"),
        ({"json_schema": True}, BALANCED, "a JSON Schema"),
        ({"images": True}, BALANCED, "images"),
        ({"audio": True}, BALANCED, "audio"),
        ({"code": True}, BALANCED, "code, about 0 tokens of input (2 points)"),
        ({"input_tokens": 64_000}, BALANCED, "(3 points)"),
        ({"code": True, "tools": True, "input_tokens": 1_999}, BALANCED, "(3 points)"),
        ({"code": True, "tools": True, "input_tokens": 2_000}, PRECISION, "(4 points)"),
        ({"code": True, "input_tokens": 16_000}, PRECISION, "(4 points)"),
        ({"images": True, "input_tokens": 64_000}, PRECISION, "(4 points)"),
        (
            {"code": True, "tools": True, "json_schema": True, "images": True, "audio": True, "input_tokens": 64_000},
            PRECISION,
            "(9 points)",
        ),
    ],
)
def test_auto(features: dict[str, object], level: PowerLevel, detail: str) -> None:
    found = choose_auto_level(RequestFeatures.model_validate(features))
    assert found.level is level
    assert detail in found.detail


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ({}, Kind.GENERAL),
        ({"images": True}, Kind.VISION),
        ({"code": True, "images": True}, Kind.CODE),
        ({"input_tokens": 99_999}, Kind.GENERAL),
        ({"input_tokens": 100_000}, Kind.LONG_CONTEXT),
    ],
)
def test_kind(features: dict[str, object], kind: Kind) -> None:
    assert kind_of(RequestFeatures.model_validate(features)) is kind


@pytest.mark.parametrize(("limit", "expected"), [(None, 1000), (50, 50), (128_000, 1000)])
def test_expected_output(limit: int | None, expected: int) -> None:
    assert expected_output_tokens(RequestFeatures(max_output_tokens=limit)) == expected
