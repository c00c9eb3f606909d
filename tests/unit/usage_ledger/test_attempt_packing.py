"""A packed attempt is read exactly as it was, whatever is in it, and takes little space."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts import ids
from keyferry.contracts.credit import MAX_AMOUNT, MAX_HOLDS, Hold, Reservation
from keyferry.contracts.usage import LedgerRow, UsageSource
from keyferry.runtime.tracing.context import trace_id
from services.usage_ledger.attempt_packing import (
    ALLOWANCE,
    FLAGS_BYTE,
    DamagedAttempt,
    shorten,
    uuid_range,
    whole_row,
)
from services.usage_ledger.attempt_rows import to_lines, to_values
from tests.bench.ledger.mix import Mix
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
BIGINT_MAX = 2**63 - 1
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=120)
DIGITS = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30)


def of_kind(prefix: str) -> st.SearchStrategy[str]:
    """Ids of our own, ids that nearly are such, and foreign ones."""
    own = st.uuids().map(lambda each: written(prefix, each))
    nearly = own.flatmap(lambda text: st.sampled_from([text.upper(), text[:-1], text + "0", text[:-1] + "1"]))
    return own | nearly | DIGITS.map(lambda text: f"{prefix}_{text}") | TEXTS


def written(prefix: str, uuid: UUID) -> str:
    digits = "0123456789abcdefghijklmnopqrstuv"
    number = uuid.int << 2
    return f"{prefix}_" + "".join(digits[number >> 5 * place & 31] for place in reversed(range(26)))


def accounts(draw: st.DrawFn) -> str:
    suffix = draw(st.sampled_from(["acme", "acme/2026-11", "other/2026-11", "rolling", "a/b/c", "acme/"]))
    kind = draw(st.sampled_from(["credits", "allowance", "budget", "unknown"]))
    if draw(st.booleans()):
        return f"budget/{draw(of_kind('bud'))}/{suffix}"
    return f"{kind}/{suffix}"


@st.composite
def holds(draw: st.DrawFn) -> Hold:
    amount = draw(st.integers(0, MAX_AMOUNT))
    return Hold.model_construct(lease_id=draw(of_kind("lea")), account=accounts(draw), amount=amount)


RESERVATIONS = st.builds(
    Reservation.model_construct,
    holds=st.lists(holds(), min_size=1, max_size=9),
    not_after_unix_ms=st.integers(0, BIGINT_MAX),
)
TRACES = (
    st.from_regex("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
    | st.from_regex("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}-more", fullmatch=True)
    | st.sampled_from([f"00-{'0' * 32}-{'0' * 16}-00", f"00-{'A' * 32}-{'b' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01"])
    | TEXTS
)
RECORDS = st.fixed_dictionaries(
    {
        "decision_id": of_kind("dec"),
        "reservation": st.none() | RESERVATIONS,
        "traceparent": st.none() | TRACES,
        "worker_id": TEXTS,
        "spool_seq": st.integers(1, BIGINT_MAX),
        "finish_reason": st.none() | st.just("") | TEXTS,
        "usage_source": st.sampled_from(UsageSource),
        "unkept": st.lists(TEXTS, max_size=3),
        "started_at": st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    }
)


def ledger_row(changes: dict[str, Any], price_version: str | None = "2026-11-21", plan: str | None = None) -> LedgerRow:
    record = attempt_record().model_copy(update=changes)
    return LedgerRow.model_construct(
        record=record,
        pricing="unpriced" if price_version is None else "priced",
        price_version=price_version,
        plan_version=plan,
        cost_usd=None,
        charge_micro_usd=None,
        absorbed_micro_usd=0,
        spend_micro_usd=None,
        trace_id=trace_id(record.traceparent),
        recorded_at=NOW,
    )


def stored(row: LedgerRow) -> dict[str, Any]:
    """Return the columns as PostgreSQL returns them."""
    values = to_values(row, packed=True)
    for name in ("decision_uuid", "trace_uuid"):
        values[name] = None if values.get(name) is None else UUID(str(values[name]))
    values["packed"] = bytes.fromhex(str(values["packed"]).removeprefix("\\x"))
    rest, begins = values["trace_rest"], values["trace_id"]
    values["traceparent"] = values["trace_stored"] or (None if begins is None else f"00-{begins}-{rest}")
    return values


def kept(reservation: Reservation) -> dict[str, Any]:
    """Return what is kept of a reservation: its certificate is for the vault, and in no record."""
    return reservation.model_dump(exclude={"certificate"})


@given(RECORDS, st.none() | TEXTS, st.none() | TEXTS)
def test_an_attempt_is_read_as_it_was(changes: dict[str, Any], price_version: str | None, plan: str | None) -> None:
    row = ledger_row(changes, price_version, plan)
    found = whole_row(stored(row))
    expected = changes | {"reservation": None if row.record.reservation is None else kept(row.record.reservation)}
    assert {name: found[name] for name in changes} == expected
    assert (found["price_version"], found["plan_version"]) == (price_version, plan)
    assert found["trace_id"] == row.trace_id


def test_the_holds_that_an_attempt_can_have_at_most_are_kept() -> None:
    each = [
        Hold(lease_id=ids.new("lea"), account=f"budget/{ids.new('bud')}/2026-11-01", amount=n) for n in range(MAX_HOLDS)
    ]
    reservation = Reservation(holds=each, not_after_unix_ms=BIGINT_MAX)
    assert whole_row(stored(ledger_row({"reservation": reservation})))["reservation"] == kept(reservation)


@pytest.mark.parametrize(
    ("account", "free"), [("credits/acme", False), ("allowance/acme/2026-11", True), ("allowance/other/2026-11", True)]
)
def test_one_byte_says_whether_a_request_was_free(account: str, *, free: bool) -> None:
    reservation = Reservation(holds=[Hold(lease_id="lea_1", account=account, amount=1)], not_after_unix_ms=1)
    packed = stored(ledger_row({"reservation": reservation}))["packed"]
    assert bool(packed[FLAGS_BYTE] & ALLOWANCE) is free


@pytest.mark.parametrize(
    "row",
    [
        ledger_row({"spool_seq": 0}),
        ledger_row({"spool_seq": -1}),
        ledger_row({}).model_copy(update={"price_version": None}),
        ledger_row({}, None).model_copy(update={"price_version": "2026-11-21"}),
    ],
    ids=["number_0", "number_negative", "no_version", "a_version"],
)
def test_what_contradicts_itself_is_left_to_postgresql_to_reject(row: LedgerRow) -> None:
    assert shorten(row) is None
    assert to_values(row, packed=True) == to_values(row, packed=False)


def test_damaged_bytes_and_those_of_a_newer_build_are_refused() -> None:
    reservation = Reservation(
        holds=[Hold(lease_id=ids.new("lea"), account="credits/acme", amount=1)], not_after_unix_ms=1
    )
    values = stored(ledger_row({"reservation": reservation, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}))
    packed = values["packed"]
    without_trace = stored(ledger_row({}))["packed"]
    for damaged in (b"", b"\x02" + packed[1:], without_trace, *(packed[:end] for end in range(len(packed) - 1))):
        with pytest.raises(DamagedAttempt):
            whole_row(values | {"packed": damaged})


def test_rows_of_an_earlier_day_are_read() -> None:
    """A change of the dictionary, or of what bytes mean, would make them unreadable."""
    row = {"tenant": "acme", "started_at": NOW, "unkept": None, "packed": bytes.fromhex(EARLIER_ROW)}
    row["decision_uuid"] = UUID("01a227a8-39c4-7c6b-8ba2-c3789d99c3f3")
    row["trace_uuid"] = UUID("0af76519-16cd-43dd-8448-eb211c80319c")
    assert whole_row(row) == {"tenant": "acme", "started_at": NOW} | EARLIER_VALUES


def test_an_id_is_found_by_its_beginning() -> None:
    for _ in range(200):
        decision_id = ids.new(ids.DECISION)
        number = ids.to_uuid(decision_id)
        for end in range(5, 31):
            first, last = uuid_range(ids.DECISION, decision_id[:end]) or ("", "")
            assert UUID(first) <= number <= UUID(last)
    assert uuid_range(ids.DECISION, decision_id) == (number.hex, number.hex)
    for other in ("dec_", "att_0", "dec_W", "dec_0_1", f"{decision_id}0", f"{decision_id[:-1]}1", "dec_\u0661"):
        assert uuid_range(ids.DECISION, other) is None


def usual_rows() -> Iterator[LedgerRow]:
    for number, each in enumerate(Mix(10, now=NOW).requests(400)):
        if each.attempt is not None:
            yield ledger_row(
                each.attempt.model_dump() | {"reservation": each.attempt.reservation}, plan=f"{number % 3}"
            )


def test_a_usual_attempt_takes_little_space() -> None:
    rows = list(usual_rows())
    packed = [found for row in rows if (found := shorten(row)) is not None]
    assert len(packed) == len(rows)
    assert mean(len(each.packed) // 2 for each in packed) < 50
    assert all(each.decision_uuid and each.trace_uuid for each in packed)


def test_a_line_has_the_packed_columns_once() -> None:
    rows = [ledger_row({"started_at": NOW + timedelta(seconds=n)}) for n in range(3)]
    lines = to_lines(rows, packed=True).decode().splitlines()
    assert all(row.record.decision_id not in line for row, line in zip(rows, lines, strict=True))
    assert all(row.record.worker_id not in line for row, line in zip(rows, lines, strict=True))


EARLIER_ROW = (
    "0107ac02b7ad6b716920333101da8403030501a227a839c47c6b8ba2c3789d99c3f3a0960302056c65615f3107323032362d3131010701a227a839c47c6b"
    "8ba2c3789d99c3f301a227a839c47c6b8ba2c3789d99c3f30a323032362d31312d303180809aa6eaafe301235f27d46a00"
)
EARLIER_VALUES = {
    "spool_seq": 300,
    "reservation": {
        "holds": [
            {"lease_id": "lea_06h2fa1pohu6n2t2ods9r6e3uc", "account": "credits/acme", "amount": 52000},
            {"lease_id": "lea_1", "account": "allowance/acme/2026-11", "amount": 1},
            {
                "lease_id": "lea_06h2fa1pohu6n2t2ods9r6e3uc",
                "account": "budget/bud_06h2fa1pohu6n2t2ods9r6e3uc/2026-11-01",
                "amount": 10**15,
            },
        ],
        "not_after_unix_ms": 1795953625000,
    },
    "trace_rest": "b7ad6b7169203331-01",
    "worker_id": "provider-worker-1",
    "usage_source": "reported",
    "finish_reason": "stop",
    "price_version": "2026-11-21",
    "plan_version": "2026-11-29",
    "unkept": [],
    "decision_id": "dec_06h2fa1pohu6n2t2ods9r6e3uc",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
