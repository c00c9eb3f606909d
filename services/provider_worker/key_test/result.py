"""Derives the four steps of a key test, and the state of the key, from the provider's responses.

Only an authentication error makes a key invalid, and the chat decides: a restricted key may be refused a list of models
and still pay for chats. A response that concerns the provider and not the key leaves the result open. Pure.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import KeyTest, KeyTestResult, KeyTestStep, StepResult
from services.provider_worker.key_test.credit import UNKNOWN, Credit
from services.provider_worker.key_test.listing import ListedModel

_FORBIDDEN = 403
_NOT_ABOUT_THE_KEY = frozenset(
    {
        FailureClass.NOT_FOUND,
        FailureClass.BAD_REQUEST,
        FailureClass.CONTEXT_LENGTH,
        FailureClass.CONTENT_FILTER,
        FailureClass.POLICY,
    }
)
"""The provider rejects this call for its model, region or scope, not for the key."""
_NO_CONNECTION = frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.SERVER})
_ONE_TOKEN = re.compile(r"max(?:_completion)?_tokens|output (?:token )?limit", re.IGNORECASE)
"""A model that finds one token too few has accepted the key, the money and its own name."""
_CLOCKS = re.compile(r"signature (?:expired|not yet current)", re.IGNORECASE)
"""About a signature and not its key: the clocks of this machine and the provider disagree."""
_NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class ProbeExchange:
    """One call and its result. `answered_ms` is the time to the response head, null if no response began."""

    duration_ms: int
    answered_ms: int | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class KeyTestFindings:
    """What a test has found so far."""

    origin: str
    first: ProbeExchange | None = None
    """The first call, whichever it was."""
    access: ProbeExchange | None = None
    """The cheap call that shows whether the key is accepted; null if the provider has none."""
    proven: bool = False
    """Whether that call succeeded, and proves that the key was checked."""
    credit: Credit = UNKNOWN
    credit_ms: int | None = None
    models: list[ListedModel] = field(default_factory=list)
    """As the provider lists them, if calls name them the same way."""
    chat: ProbeExchange | None = None
    chat_model: str | None = None
    model_detail: str = ""
    """An addition to the last step's detail."""


def conclude(findings: KeyTestFindings, tested_at: datetime, duration_ms: int) -> KeyTest:
    """Build the result."""
    steps = [_reachable_step(findings), _accepted_step(findings), _credit_step(findings), _model_step(findings)]
    result, failure_class = _result(findings, {step.step: step.passed for step in steps})
    return KeyTest(
        result=result,
        steps=steps,
        failure_class=failure_class,
        duration_ms=duration_ms,
        tested_at=tested_at,
        credit_left_usd=findings.credit.left_usd,
        models=[model.name for model in findings.models],
    )


def _reachable_step(findings: KeyTestFindings) -> StepResult:
    step, first = KeyTestStep.REACHABLE, findings.first
    if first is None:
        return StepResult(step=step, detail=_NOT_REACHED)
    if first.answered_ms is not None:
        return StepResult(step=step, passed=True, duration_ms=first.answered_ms, detail=f"{findings.origin} answers")
    if first.failure is not None and first.failure.failure_class not in _NO_CONNECTION:
        return StepResult(step=step, detail=_message(first.failure))
    return StepResult(step=step, passed=False, duration_ms=first.duration_ms, detail=_message(first.failure))


def _accepted_step(findings: KeyTestFindings) -> StepResult:
    step, deciding = KeyTestStep.ACCEPTED, _deciding_exchange(findings)
    passed = _is_accepted(findings)
    if passed:
        reported = findings.access if findings.proven and findings.access else deciding
        return _step(step, True, reported, "the provider accepts the key")
    if passed is False:
        return _step(step, False, deciding, f"the provider does not accept the key: {_message(_refusal(findings))}")
    if deciding is None or deciding.answered_ms is None:
        return StepResult(step=step, detail=_NOT_REACHED)
    failure = deciding.failure
    return _step(step, None, deciding, f"unknown: {_message(failure) if failure else 'this call needs no key'}")


def _credit_step(findings: KeyTestFindings) -> StepResult:
    step, reported = KeyTestStep.CREDIT, findings.credit
    if _class_of(findings.chat) is FailureClass.QUOTA:
        return _step(step, False, findings.chat, _message(findings.chat.failure if findings.chat else None))
    if reported.enough is not None:
        left = "" if reported.left_usd is None else f": {reported.left_usd:f} US dollars left"
        detail = f"the provider reports that credit is {'available' if reported.enough else 'used up'}{left}"
        return StepResult(step=step, passed=reported.enough, duration_ms=findings.credit_ms, detail=detail)
    if _passed(findings.chat):
        return _step(step, True, findings.chat, "a call was paid for")
    return StepResult(step=step, detail=_NOT_REACHED if findings.chat is None else "unknown: no call went through")


def _model_step(findings: KeyTestFindings) -> StepResult:
    step, chat = KeyTestStep.MODEL, findings.chat
    if chat is None:
        return StepResult(step=step, detail=findings.model_detail or _NOT_REACHED)
    beside = f" ({findings.model_detail})" if findings.model_detail else ""
    if _passed(chat):
        return _step(step, True, chat, f"{findings.chat_model} answers{beside}")
    kind = _class_of(chat)
    not_about_key = kind in _NOT_ABOUT_THE_KEY or (kind is FailureClass.AUTH and bool(_is_accepted(findings)))
    if not_about_key or kind is FailureClass.QUOTA or kind is FailureClass.AUTH:
        return _step(
            step, False if not_about_key else None, chat, f"{findings.chat_model}: {_message(chat.failure)}{beside}"
        )
    return _step(step, None, chat, f"unknown: {_message(chat.failure)}")


def _result(
    findings: KeyTestFindings, passed: dict[KeyTestStep, bool | None]
) -> tuple[KeyTestResult, FailureClass | None]:
    """Return what follows for the key, and the class of the failure it follows from."""
    if passed[KeyTestStep.ACCEPTED] is False:
        return KeyTestResult.INVALID, FailureClass.AUTH
    if passed[KeyTestStep.CREDIT] is False:
        return KeyTestResult.DEGRADED, FailureClass.QUOTA
    if passed[KeyTestStep.MODEL] is False:
        return KeyTestResult.DEGRADED, _class_of(findings.chat)
    if passed[KeyTestStep.MODEL] or (findings.chat is None and passed[KeyTestStep.ACCEPTED]):
        return KeyTestResult.VALID, None
    return KeyTestResult.INCONCLUSIVE, _class_of(findings.chat) or _class_of(findings.access) or _class_of(
        findings.first
    )


def _is_accepted(findings: KeyTestFindings) -> bool | None:
    """Return whether the provider accepts the key; null if nothing shows it."""
    chat = _class_of(findings.chat)
    if _passed(findings.chat) or chat is FailureClass.QUOTA:
        return True
    if chat is FailureClass.AUTH:
        # The key is known but not allowed this call: a scope, not an invalid key.
        return findings.proven and _status(findings.chat) == _FORBIDDEN
    if findings.proven:
        return True
    return False if _refusal(findings) is not None else None


def _refusal(findings: KeyTestFindings) -> Failure | None:
    """Return the authentication failure that makes the key invalid: the chat's, or the cheap call's if there was no chat."""
    if _class_of(findings.chat) is FailureClass.AUTH and findings.chat:
        return findings.chat.failure
    if _class_of(findings.access) is not FailureClass.AUTH or findings.access is None:
        return None
    if findings.chat is None:
        return findings.access.failure
    # A 403 for the list beside a chat that failed differently may be a scope; a 401 is about the key.
    answered_otherwise = _class_of(findings.chat) in _NOT_ABOUT_THE_KEY
    return findings.access.failure if answered_otherwise and _status(findings.access) != _FORBIDDEN else None


def _deciding_exchange(findings: KeyTestFindings) -> ProbeExchange | None:
    """Return the call that the second step reports."""
    if _class_of(findings.chat) is not FailureClass.AUTH and _refusal(findings) is not None:
        return findings.access
    return findings.chat or findings.access or findings.first


def _passed(exchange: ProbeExchange | None) -> bool:
    """Return whether a call succeeded, or failed only for being so small."""
    if exchange is None or exchange.failure is None:
        return exchange is not None
    return exchange.failure.failure_class is FailureClass.BAD_REQUEST and bool(
        _ONE_TOKEN.search(exchange.failure.message)
    )


def _class_of(exchange: ProbeExchange | None) -> FailureClass | None:
    if exchange is None or exchange.failure is None:
        return None
    return FailureClass.INTERNAL if _CLOCKS.search(exchange.failure.message) else exchange.failure.failure_class


def _status(exchange: ProbeExchange | None) -> int | None:
    return None if exchange is None or exchange.failure is None else exchange.failure.status


def _step(step: KeyTestStep, passed: bool | None, exchange: ProbeExchange | None, detail: str) -> StepResult:
    return StepResult(step=step, passed=passed, duration_ms=exchange.duration_ms if exchange else None, detail=detail)


def _message(failure: Failure | None) -> str:
    return failure.message if failure else "no details are known"
