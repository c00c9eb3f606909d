"""The fields of a grant on the bus: optional for messages of earlier versions, and one short line."""

import json

import pytest

from keyferry.contracts.chat import AttemptRun, ChatRequest, EmbeddingRequest, RequestHead, Reroute
from keyferry.contracts.credit import CreditCertificate, CreditLease, LeaseResult, Reservation
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.lease import LeaseKey
from tests.support.providers.attempt_runs import attempt_run
from tests.support.vault.grants import Granting

HEAD = {"request_id": "req_1", "tenant": "acme", "model": "m", "stream": False, "deadline_ms": 1, "start_by_unix_ms": 1}
LEASE = {
    "instance_id": "inst_1",
    "tenant": "acme",
    "owner": "acme",
    "provider": "openai",
    "key_id": "key_1",
    "origin": "https://api.openai.com",
    "attempt_id": "att_1",
    "nonce": "AAAA",
    "sent_at_unix_ms": 1,
}


def encoded(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize("kind", [ChatRequest, EmbeddingRequest])
def test_a_request_of_an_earlier_version_has_none(kind: type[ChatRequest]) -> None:
    assert kind.decode(encoded(HEAD)).grant is None


def test_messages_of_earlier_versions_are_read() -> None:
    lease = LeaseKey.decode(encoded(LEASE))
    assert (lease.grant, lease.request_id, lease.certificate) == (None, None, None)
    hold = {"lease_id": "lea_1", "account": "credits/acme", "amount": 1}
    assert Reservation.decode(encoded({"holds": [hold], "not_after_unix_ms": 1})).certificate is None
    assert CreditLease.decode(encoded({"result": "granted", "account": "credits/acme"})).certificate is None


@pytest.mark.parametrize("text", ["", "a\x00b", "a\nb", "a\x1bb", "a\u202eb", "v" * 301, 1, ["v1"]])
def test_a_grant_is_one_short_line_of_text(text: object) -> None:
    for kind, fields in ((ChatRequest, HEAD), (LeaseKey, LEASE)):
        with pytest.raises(MalformedMessage) as caught:
            kind.decode(encoded({**fields, "grant": text}))
        assert caught.value.param == "grant"


def test_a_lone_surrogate_is_no_grant() -> None:
    with pytest.raises(MalformedMessage):
        ChatRequest.decode(b'{"grant":"\\ud800",' + encoded(HEAD)[1:])


@pytest.mark.parametrize("change", [{"account": "Credits/acme"}, {"lease_id": "a b"}, {"signature": "a\x00"}])
def test_a_certificate_has_the_form_of_its_fields(change: dict[str, object]) -> None:
    fields = {"account": "credits/acme", "lease_id": "lea_1", "not_after_unix_ms": 1, "signature": "AAAA"}
    assert CreditCertificate.decode(encoded(dict(fields))).lease_id == "lea_1"
    with pytest.raises(MalformedMessage):
        CreditCertificate.decode(encoded({**fields, **change}))


def test_the_grant_goes_with_a_request_to_its_attempt_and_back() -> None:
    grant = Granting().grant("acme", "req_1")
    run = attempt_run().model_copy(update={"grant": grant})
    assert run.derive(RequestHead).grant == grant
    request = ChatRequest.decode(encoded({**HEAD, "grant": grant}))
    rest = attempt_run().model_dump(exclude=set(RequestHead.model_fields))
    assert request.derive(AttemptRun, **rest).grant == grant
    assert "grant" in Reroute.model_fields
    assert CreditLease(result=LeaseResult.GRANTED, account="credits/acme").certificate is None
