"""Which key pays after a removal, which variables hold keys, and where a key may be read from."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from keyferry.cli import key_output as key_output
from keyferry.cli.key_importing import VARIABLES, find_keys
from keyferry.cli.key_input import read_key
from keyferry.cli.key_pauses import select_pauses
from keyferry.cli.problem import Problem
from keyferry.contracts.health import CircuitState, Health, HealthList, Target
from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import KeyPolicy
from tests.unit.key_vault.keys.stored_keys import check, key

REMOVED = key(key_id="key_gone")
PLATFORM = key(tenant="platform", label="shared")


def after(policy: KeyPolicy | None, own: list[ProviderKey], platform: list[ProviderKey]) -> str:
    return key_output.describe_next_payer(REMOVED, policy, own, platform)


@pytest.mark.parametrize("policy", [None, KeyPolicy.OWN, KeyPolicy.OWN_THEN_PLATFORM])
def test_tenants_next_own_key_pays(policy: KeyPolicy | None) -> None:
    assert "continue with acme's own spare" in after(policy, [key(label="spare")], [PLATFORM])


def test_unusable_key_pays_for_nothing() -> None:
    unusable = [
        key(status=KeyStatus.INVALID),
        key(status=KeyStatus.DISABLED),
        key(over_limit=True),
        key(provider="anthropic"),
    ]
    assert "refused from now on: its policy" in after(KeyPolicy.OWN, unusable, [PLATFORM])
    assert "platform's key shared" in after(None, unusable, [PLATFORM])
    assert "neither it nor the platform" in after(None, unusable, unusable)


def test_valid_keys_pay_before_degraded_ones() -> None:
    own = [key(label="short", status=KeyStatus.DEGRADED, priority=1), key(label="good", priority=9)]
    assert "own good" in after(None, own, [])


def test_platform_pays_if_the_policy_allows() -> None:
    assert "platform's key shared" in after(KeyPolicy.PLATFORM, [key(label="spare")], [PLATFORM])
    assert "are refused from now on" in key_output.describe_next_payer(PLATFORM, None, [], [])
    assert "platform's shared" in key_output.describe_next_payer(PLATFORM, None, [PLATFORM], [PLATFORM])


def test_key_test_steps_show_their_times() -> None:
    lines = key_output.format_test(check()).splitlines()
    assert lines[1].split() == ["reachable", "yes", "12", "ms", "the", "provider", "answers"]
    assert lines[-1] == "the key works (valid, 46 ms in all)"


@pytest.mark.parametrize(
    ("spent", "unpriced", "limit", "shown"),
    [
        (None, 0, None, "-"),
        (None, 0, "10", "$0 of $10"),
        (None, 62, None, "unknown"),
        (None, 62, "10", "unknown of $10"),
        ("1.5", 2, "10", "$1.5 + 2 unknown of $10"),
        ("1.5", 0, None, "$1.5"),
    ],
)
def test_unknown_costs_are_shown_beside_a_keys_spending(
    spent: str | None, unpriced: int, limit: str | None, shown: str
) -> None:
    used = key(spent_usd=Decimal(spent) if spent else None, monthly_limit_usd=Decimal(limit) if limit else None)
    table = key_output.format_keys([used.model_copy(update={"unpriced": unpriced})], "acme").splitlines()
    column = table[0].index("SPENT")
    assert table[1][column:].startswith(f"{shown}  ")


def test_every_variable_belongs_to_a_known_provider() -> None:
    assert set(VARIABLES) <= set(PROVIDERS)
    environment = {"GEMINI_API_KEY": " AIzaOne ", "GOOGLE_API_KEY": "", "OPENAI_API_KEY": "sk-1", "HF_TOKEN": "hf_1"}
    assert [(one.variable, one.key.reveal()) for one in find_keys(environment)] == [
        ("OPENAI_API_KEY", "sk-1"),
        ("GEMINI_API_KEY", "AIzaOne"),
        ("HF_TOKEN", "hf_1"),
    ]


def test_a_key_is_read_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("sk-abc\r\n")
    assert read_key(str(tmp_path / "key"), "") == Secret("sk-abc")
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-abc\n"))
    assert read_key("-", "") == Secret("sk-abc")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "the key is empty"), (b"\n", "the key is empty"), (b"a" * 20_000, "too long"), (b"\xff\xfe", "is not text")],
)
def test_file_without_a_key_is_rejected(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(Problem, match=expected):
        read_key(str(tmp_path / "key"), "")


def test_key_given_as_a_file_name_is_not_repeated() -> None:
    with pytest.raises(Problem) as problem:
        read_key("sk-proj-secret", "")
    assert "sk-proj-secret" not in " ".join(problem.value.lines())


def test_a_key_near_its_rate_limit_is_shown_as_such() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)

    def use(key_id: str | None, state: CircuitState, seconds: float, model: str = "gpt-4o") -> Health:
        target = Target(provider="openai", model=model, tenant="acme", key_id=key_id)
        until = now + timedelta(seconds=seconds)
        return Health(target=target, state=state, reason=f"{state} it is", until=until, changed_at=now)

    found = HealthList(
        targets=[
            use("key_a", CircuitState.PACING, 9),
            use("key_a", CircuitState.COOLING, 9, "gpt-5"),
            use("key_b", CircuitState.PACING, -1),
            use(None, CircuitState.COOLING, 9),
            use("key_of_others", CircuitState.COOLING, 9),
        ],
        overrides=[],
    )
    pauses = select_pauses(found, now)
    table = key_output.format_keys([key(key_id="key_a"), key(key_id="key_b")], "acme", pauses).splitlines()
    assert "valid, cooling" in table[1]
    assert "valid  " in table[2]
    assert table[3:] == [
        "key_a gets no requests for gpt-5: cooling it is",
        "key_a gives way to other keys for gpt-4o: pacing it is",
    ]
    assert "key_a" in key_output.format_keys([key(key_id="key_a")], None, pauses)
