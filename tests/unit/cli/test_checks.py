"""The doctor's checks."""

from datetime import timedelta
from pathlib import Path

import pytest

from keyferry.cli.bus_checks import check_chat, check_clock, check_ledger, check_services
from keyferry.cli.chat_request import ChatResult
from keyferry.cli.control import ProcessStatus
from keyferry.cli.installation import Installation
from keyferry.cli.local_checks import MIN_FREE_BYTES, check_disk, check_launcher, check_secrets
from keyferry.cli.problem import Finding
from keyferry.cli.request_trace import RequestTrace
from keyferry.cli.status import format_status
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.frames import Accepted
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.topology import SERVICES, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.request.assembly import CallFailed
from tests.support.ledger.request_records import AT, REQUEST_ID, decision, ledger_row


def _report(role: Role, slot: int = 1, waiting_for: tuple[str, ...] = ()) -> ServiceReport:
    return ServiceReport(
        service=role.value,
        slot=slot,
        pid=100 + slot,
        instance_id=f"inst_{slot}",
        version="1",
        ready=not waiting_for,
        waiting_for=list(waiting_for),
    )


def _all() -> list[ServiceReport]:
    return [*(_report(role) for role in SERVICES), _report(Role.PROVIDER_WORKER, 2)]


def _problems(reports: list[ServiceReport], slots: int = 2) -> list[Finding]:
    return [finding for finding in check_services(reports, slots) if not finding.ok]


def test_all_services_in_all_slots_pass() -> None:
    assert _problems(_all()) == []
    assert len(list(check_services(_all(), 2))) == len(SERVICES) + 1


def test_silent_service_is_reported() -> None:
    (finding,) = _problems([report for report in _all() if report.service != Role.ROUTER.value])
    assert (finding.subject, finding.detail) == ("router", "does not answer")
    assert "keyferry restart router" in finding.remedy


def test_silent_worker_slot_is_reported() -> None:
    (finding,) = _problems(_all(), slots=3)
    assert (finding.subject, finding.detail) == ("provider-worker", "slot 3 does not answer")


def test_unready_service_names_what_it_is_waiting_for() -> None:
    reports = [r for r in _all() if r.service != Role.INGRESS.value] + [_report(Role.INGRESS, 1, ("the tenants view",))]
    (finding,) = _problems(reports)
    assert (finding.subject, finding.detail) == ("ingress", "waiting for the tenants view")


DEGRADED = "3 records are dead letters: `keyferry dead-letters list` shows why"


def test_what_a_ready_service_needs_attended_to_is_a_problem_with_its_remedy() -> None:
    degraded = _report(Role.USAGE_LEDGER).model_copy(update={"degraded": [DEGRADED]})
    (finding,) = _problems([*(r for r in _all() if r.service != Role.USAGE_LEDGER.value), degraded])
    assert (finding.subject, finding.detail) == ("usage-ledger", "3 records are dead letters")
    assert finding.remedy == "`keyferry dead-letters list` shows why"


def test_status_shows_it_as_well() -> None:
    degraded = _report(Role.USAGE_LEDGER).model_copy(update={"degraded": [DEGRADED]})
    installation = Installation(nats_url="nats://127.0.0.1:4222", nkey_file=None)
    lines = format_status(installation, [_report(Role.ROUTER), degraded])
    text = "\n".join(lines)
    assert text.splitlines()[-1] == f"usage-ledger: {DEGRADED}"
    assert [line.split()[4] for line in text.splitlines()[2:4]] == ["ready", "degraded"]


def test_two_processes_of_a_slot_during_a_restart_pass() -> None:
    assert _problems([*_all(), _report(Role.ROUTER)]) == []


@pytest.mark.parametrize(("milliseconds", "ok"), [(-600, False), (-400, True), (5, True), (410, True), (700, False)])
def test_router_clock_is_compared_with_ours(milliseconds: int, ok: bool) -> None:
    finding = check_clock(AT, AT + timedelta(milliseconds=milliseconds), AT + timedelta(milliseconds=10))
    assert finding.ok == ok


def test_refused_chat_reports_the_reason() -> None:
    failure = Failure(failure_class=FailureClass.POLICY, message="the tenant demo is suspended or unknown")
    finding = check_chat(ChatResult(REQUEST_ID, failure=CallFailed(failure)), "hello", "demo")
    assert not finding.ok
    assert "suspended or unknown (policy)" in finding.detail


def test_echo_must_contain_the_sent_text() -> None:
    chat_result = ChatResult(REQUEST_ID)
    assert not check_chat(chat_result, "hello", "demo").ok
    chat_result.answer.text = "You said: hello"
    assert check_chat(chat_result, "hello", "demo").ok


def test_ledger_must_have_the_decision_and_the_attempt() -> None:
    accepted = Accepted(
        attempt_id="att_1",
        instance_id="inst_1",
        attempt_number=1,
        decision_id="dec_1",
        provider="echo",
        model="echo",
        key_source=KeySource.NONE,
    )
    chat_result = ChatResult(REQUEST_ID, accepted=accepted)
    whole = check_ledger(RequestTrace("demo", REQUEST_ID, decision(), [ledger_row()]), chat_result)
    assert whole.ok
    assert "att_1" in whole.detail
    lacking = check_ledger(RequestTrace("demo", REQUEST_ID, decision(), []), chat_result)
    assert "the attempt's row" in lacking.detail
    assert "ATTEMPTS, DECISIONS" in lacking.remedy


def test_exposed_secrets_are_reported(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    assert not check_secrets(secrets).ok
    (secrets / "nkeys").mkdir(parents=True)
    seed = secrets / "nkeys" / "operator.seed"
    seed.write_text("seed")
    for directory in (secrets, seed.parent):
        directory.chmod(0o700)
    seed.chmod(0o600)
    assert check_secrets(secrets) == Finding("secrets", "1 files, readable only by their owner")
    seed.chmod(0o640)
    finding = check_secrets(secrets)
    assert str(seed) in finding.detail
    assert "chmod" in finding.remedy
    seed.chmod(0o600)
    seed.parent.chmod(0o711)
    assert str(seed.parent) in check_secrets(secrets).detail


def test_unready_process_is_reported() -> None:
    well = [
        ProcessStatus(name="router", pid=1, state="ready"),
        ProcessStatus(name="nats", pid=2, state="ready", restarts=3),
    ]
    assert check_launcher(well) == Finding("launcher", "2 processes ready; restarted so far: nats 3x")
    ill = check_launcher([*well, ProcessStatus(name="ingress", pid=3, state="gone")])
    assert ill.detail == "ingress is gone"
    assert not ill.ok


def test_full_disk_is_reported(tmp_path: Path) -> None:
    assert check_disk(tmp_path, MIN_FREE_BYTES).ok
    assert not check_disk(tmp_path, MIN_FREE_BYTES - 1).ok


def test_finding_has_a_remedy_only_for_a_problem() -> None:
    assert Finding("disk", "fine").lines() == ["ok       disk: fine"]
    assert Finding("disk", "full", "Free some space").lines() == ["PROBLEM  disk: full", "         -> Free some space"]
