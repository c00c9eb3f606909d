"""A packed decision holds every reason, takes little space, and is never read wrong."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import mean

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts import ids
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.route import Candidate, DecisionRecord, DropReason
from keyferry.contracts.usage import KeySource
from services.usage_ledger.decision_dictionary import DICTIONARY_1
from services.usage_ledger.decision_packing import (
    DamagedRecord,
    compress,
    compress_as_before,
    decompress,
    document_of,
    skipped_of,
)
from tests.bench.ledger.mix import Mix
from tests.support.ledger.attempt_records import decision_record

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
REASONS = st.sampled_from(DropReason)
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=200)
SOURCES = st.sampled_from(KeySource)
CANDIDATES = st.builds(
    Candidate,
    provider=st.sampled_from(["openai", "anthropic", "custom"]),
    model=TEXTS,
    key_source=SOURCES,
    kept=st.booleans(),
    reason=st.none() | REASONS,
    detail=TEXTS,
)


FORMS = pytest.mark.parametrize("form", [compress, compress_as_before])
OWN_TIME = round(NOW.timestamp() * 1000)
OWN_ID = ids.new(ids.DECISION, unix_ms=OWN_TIME)
IDS = (
    st.binary(min_size=16, max_size=16).map(lambda raw: f"att_{base64.b32hexencode(raw)[:26].decode().lower()}")
    | st.just(ids.new(ids.ATTEMPT, unix_ms=OWN_TIME))
    | st.sampled_from(
        ["att_1", f"att_{'v' * 26}", f"att_{'0' * 26}", f"att_{'0' * 27}", f"a_{'0' * 26}_{'0' * 26}", "att_\u0663"]
    )
    | TEXTS
)
TRACES = (
    st.none()
    | st.sampled_from(["00-a-b-01", f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'A' * 32}-{'b' * 16}-01", "0"])
    | TEXTS
)


def row_of(record: DecisionRecord, form: Callable[[DecisionRecord], bytes] = compress) -> dict[str, object]:
    columns = ("decision_id", "request_id", "tenant", "decided_at")
    return {"packed": form(record), "record": None} | {name: getattr(record, name) for name in columns}


@FORMS
@given(
    candidates=st.lists(CANDIDATES, max_size=20),
    tags=st.dictionaries(st.sampled_from(["a", "b"]), TEXTS | IDS, max_size=2),
    decision_id=st.just(OWN_ID) | IDS,
    attempt_id=IDS,
    trace=TRACES,
)
def test_a_record_is_read_as_it_was(
    form: Callable[[DecisionRecord], bytes],
    candidates: list[Candidate],
    tags: dict[str, str],
    decision_id: str,
    attempt_id: str,
    trace: str | None,
) -> None:
    refusal = Failure(failure_class=FailureClass.POLICY, message="not allowed", where=Where.GATEWAY)
    changes = {"decision_id": decision_id, "attempt_id": attempt_id, "traceparent": trace}
    record = decision_record(candidates=candidates, refusal=refusal).model_copy(update=changes | {"tags": tags})
    expected = orjson.loads(record.model_dump_json(exclude_none=True)) | {"decided_at": record.decided_at}
    assert document_of(row_of(record, form)) == expected


@FORMS
def test_more_ids_than_have_numbers_are_kept(form: Callable[[DecisionRecord], bytes]) -> None:
    many = [ids.new(ids.PROVIDER_KEY) for _ in range(300)]
    detail = "{0}: " + ", ".join(many[:3])
    candidate = decision_record().candidates[0]
    found = [candidate.model_copy(update={"key_id": each, "detail": detail.format(each)}) for each in many]
    record = decision_record(candidates=found)
    assert DecisionRecord.model_validate(document_of(row_of(record, form))) == record


def test_usual_decisions_take_little_space() -> None:
    records = [each.decision for each in Mix(10, now=NOW).requests(400)]
    assert mean(len(compress(record)) for record in records) < 128
    for record in records[:50]:
        assert DecisionRecord.model_validate(document_of(row_of(record))) == record


def test_the_reasons_of_a_usual_decision_take_little_space() -> None:
    detail = "there is no key for Azure OpenAI: add one with `keyferry keys add --provider azure --tenant acme`"
    dropped = Candidate(
        provider="azure",
        model="gpt-4o-mini",
        key_source=KeySource.BYOK,
        kept=False,
        reason=DropReason.NO_KEY,
        detail=detail,
    )
    record = decision_record(candidates=[dropped, *decision_record().candidates])
    assert len(record.encode()) > 600
    assert len(compress(record)) < 120


def test_the_dictionary_is_the_one_that_rows_were_packed_with() -> None:
    """A row of an earlier day: a change of the dictionary would make it unreadable."""
    assert len(DICTIONARY_1) == 16_000
    packed = bytes.fromhex(EARLIER_ROW)
    assert decompress(packed)["candidates"] == [
        {
            "provider": "echo",
            "model": "echo",
            "key_source": "none",
            "kept": True,
            "detail": "the built-in echo",
            "delay_ms": 0,
        }
    ]


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"", b"\x00", b"\x03abc", b"\x02", b"\x02\x00", b"\x02\x01abc", b"\x01", b"\x01\xff\xff"),
        compress(decision_record())[:-3],
        compress(decision_record(attempt_id=ids.new(ids.ATTEMPT)))[:-1],
        compress_as_before(decision_record())[:-3],
    ],
    ids=range(11),
)
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(DamagedRecord):
        decompress(damaged)


def test_candidates_that_were_skipped_as_unhealthy_have_a_column() -> None:
    def dropped(reason: DropReason) -> Candidate:
        return Candidate(
            provider="openai",
            model="m",
            key_source=KeySource.BYOK,
            key_id="key_1",
            kept=False,
            reason=reason,
            detail="x",
        )

    record = decision_record(candidates=[dropped(DropReason.UNHEALTHY), dropped(DropReason.NO_KEY)])
    found = skipped_of(record)
    assert found == {"candidates": [{"provider": "openai", "model": "m", "key_source": "byok", "reason": "unhealthy"}]}
    assert skipped_of(decision_record()) is None


def test_a_row_of_form_2_is_read() -> None:
    """It has a trace, an id of another time than its own, and one of its own time."""
    found = decompress(bytes.fromhex(EARLIER_ROW_2), "dec_06h2fa1pohu6n2t2ods9r6e3uc")
    assert {name: found[name] for name in ("client_token_id", "attempt_id", "traceparent", "duration_us", "order")} == {
        "client_token_id": "tok_06h2fa25fdoq10798be0vf64eg",
        "attempt_id": "att_06h2fa1pohu6n2t2ods9r6e3u8",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "duration_us": 80,
        "order": [0],
    }


EARLIER_ROW_2 = (
    "02010af7651916cd43dd8448eb211c80319cb7ad6b716920333101a3e6341e387b21ca35b2d7711950335363890b94ec8b3bb00db0053533f9410d00"
    "01a227a8457b71a080e942dc0fbcc4747c6b8ba2c3789d99c3f2"
)
EARLIER_ROW = "01ab2679d60e9ce7104517d9ebb80ca899d3b144084a9ec61de206b1e406692d00"
