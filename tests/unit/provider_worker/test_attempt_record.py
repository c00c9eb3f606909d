"""The ledger gets every field of an attempt: one that is added to the contract and set nowhere would stay empty unnoticed."""

from datetime import UTC, datetime

from keyferry.contracts.usage import AttemptRecord, Outcome
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.attempt_end import AttemptEnd
from services.provider_worker.attempt_record import intent_record, result_record
from tests.support.providers.attempt_runs import attempt_run


def test_intent_and_result_set_every_field() -> None:
    intent = intent_record(attempt_run(), worker_id="worker-1", spool_seq=1, started_at=datetime.now(UTC))
    result = result_record(
        intent,
        AttemptEnd(Outcome.COMPLETED),
        Answer(),
        origin="https://llm.example:443",
        body=b"{}",
        deltas=0,
        latency_ms=1,
        first_token_ms=None,
    )
    assert result.model_fields_set == AttemptRecord.model_fields.keys()
