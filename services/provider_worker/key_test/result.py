"""From what a provider answered to a key's test: the four steps and what they say of the key. Pure.

Only an authentication answer condemns a key, and the call that it is for has the last word: a restricted key may be refused a
list of models and still pay for chats. What says something about the provider and nothing about the key leaves all open.
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
"""The provider answers this call with a refusal that is not about the key: its model, region or scope."""
_NO_CONNECTION = frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.SERVER})
_ONE_TOKEN = re.compile(r"max(?:_completion)?_tokens|output (?:token )?limit", re.IGNORECASE)
"""A model that finds one token too few has taken the key, the money and its own name."""
_CLOCKS = re.compile(r"signature (?:expired|not yet current)", re.IGNORECASE)
"""Of a signature and not of its key: the clocks of this machine and the provider disagree."""
_NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class ProbeExchange:
    """One call and its end. `answered_ms` is how long the head took, null where no answer began."""

    duration_ms: int
    answered_ms: int | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class KeyTestFindings:
    """What a test has seen so far."""

    origin: str
    first: ProbeExchange | None = None
    """The first call, whichever it was."""
    access: ProbeExchange | None = None
    """The cheap call that shows whether the key is accepted; null where the provider has none."""
    proven: bool = False
    """Whether that call went through, and means that the key was looked at."""
    credit: Credit = UNKNOWN
    credit_ms: int | None = None
    models: list[ListedModel] = field(default_factory=list)
    """As the provider lists them, where calls name them so."""
    chat: ProbeExchange | None = None
    chat_model: str | None = None
    model_words: str = ""
    """What to say of the last step beside what follows from its call."""


def conclude(found: KeyTestFindings, tested_at: datetime, duration_ms: int, key: str) -> KeyTest:
    """The check to report. `key` is the text of the key, which nothing that is reported repeats."""
    steps = [_reachable_step(found), _accepted_step(found), _credit_step(found), _model_step(found)]
    result, failure_class = _result(found, {step.step: step.passed for step in steps})
    return KeyTest(
        result=result,
        steps=[step.model_copy(update={"detail": redact_key(step.detail, key)}) for step in steps],
        failure_class=failure_class,
        duration_ms=duration_ms,
        tested_at=tested_at,
        credit_left_usd=found.credit.left_usd,
        models=[model.name for model in found.models if redact_key(model.name, key) == model.name],
    )


def _reachable_step(found: KeyTestFindings) -> StepResult:
    step, first = KeyTestStep.REACHABLE, found.first
    if first is None:
        return StepResult(step=step, detail=_NOT_REACHED)
    if first.answered_ms is not None:
        return StepResult(step=step, passed=True, duration_ms=first.answered_ms, detail=f"{found.origin} answers")
    if first.failure is not None and first.failure.failure_class not in _NO_CONNECTION:
        return StepResult(step=step, detail=_message(first.failure))
    return StepResult(step=step, passed=False, duration_ms=first.duration_ms, detail=_message(first.failure))


def _accepted_step(found: KeyTestFindings) -> StepResult:
    step, deciding = KeyTestStep.ACCEPTED, _deciding_exchange(found)
    passed = _is_accepted(found)
    if passed:
        shown = found.access if found.proven and found.access else deciding
        return _step(step, True, shown, "the provider accepts the key")
    if passed is False:
        return _step(step, False, deciding, f"the provider does not accept the key: {_message(_refusal(found))}")
    if deciding is None or deciding.answered_ms is None:
        return StepResult(step=step, detail=_NOT_REACHED)
    failure = deciding.failure
    return _step(step, None, deciding, f"cannot be told: {_message(failure) if failure else 'this call needs no key'}")


def _credit_step(found: KeyTestFindings) -> StepResult:
    step, reported = KeyTestStep.CREDIT, found.credit
    if _class_of(found.chat) is FailureClass.QUOTA:
        return _step(step, False, found.chat, _message(found.chat.failure if found.chat else None))
    if reported.enough is not None:
        left = "" if reported.left_usd is None else f": {reported.left_usd:f} US dollars are left"
        detail = f"the provider says that credit is {'there' if reported.enough else 'used up'}{left}"
        return StepResult(step=step, passed=reported.enough, duration_ms=found.credit_ms, detail=detail)
    if _passed(found.chat):
        return _step(step, True, found.chat, "a call was paid for")
    return StepResult(step=step, detail=_NOT_REACHED if found.chat is None else "cannot be told: no call went through")


def _model_step(found: KeyTestFindings) -> StepResult:
    step, chat = KeyTestStep.MODEL, found.chat
    if chat is None:
        return StepResult(step=step, detail=found.model_words or _NOT_REACHED)
    beside = f" ({found.model_words})" if found.model_words else ""
    if _passed(chat):
        return _step(step, True, chat, f"{found.chat_model} answers{beside}")
    kind = _class_of(chat)
    short = kind in _NOT_ABOUT_THE_KEY or (kind is FailureClass.AUTH and bool(_is_accepted(found)))
    if short or kind is FailureClass.QUOTA or kind is FailureClass.AUTH:
        return _step(step, False if short else None, chat, f"{found.chat_model}: {_message(chat.failure)}{beside}")
    return _step(step, None, chat, f"cannot be told: {_message(chat.failure)}")


def _result(
    found: KeyTestFindings, passed: dict[KeyTestStep, bool | None]
) -> tuple[KeyTestResult, FailureClass | None]:
    """What follows for the key, and the class of the failure that it follows from."""
    if passed[KeyTestStep.ACCEPTED] is False:
        return KeyTestResult.INVALID, FailureClass.AUTH
    if passed[KeyTestStep.CREDIT] is False:
        return KeyTestResult.DEGRADED, FailureClass.QUOTA
    if passed[KeyTestStep.MODEL] is False:
        return KeyTestResult.DEGRADED, _class_of(found.chat)
    if passed[KeyTestStep.MODEL] or (found.chat is None and passed[KeyTestStep.ACCEPTED]):
        return KeyTestResult.VALID, None
    return KeyTestResult.INCONCLUSIVE, _class_of(found.chat) or _class_of(found.access) or _class_of(found.first)


def _is_accepted(found: KeyTestFindings) -> bool | None:
    """Whether the provider takes the key for one of its own; null where nothing shows it."""
    chat = _class_of(found.chat)
    if _passed(found.chat) or chat is FailureClass.QUOTA:
        return True
    if chat is FailureClass.AUTH:
        # Known, and not allowed this call: a scope, not a bad key.
        return found.proven and _status(found.chat) == _FORBIDDEN
    if found.proven:
        return True
    return False if _refusal(found) is not None else None


def _refusal(found: KeyTestFindings) -> Failure | None:
    """The authentication answer that condemns the key: the chat's, or the cheap call's where no chat speaks for the key."""
    if _class_of(found.chat) is FailureClass.AUTH and found.chat:
        return found.chat.failure
    if _class_of(found.access) is not FailureClass.AUTH or found.access is None:
        return None
    if found.chat is None:
        return found.access.failure
    # A 403 of the list beside a chat that failed otherwise may be a scope; a 401 is about the key.
    answered_otherwise = _class_of(found.chat) in _NOT_ABOUT_THE_KEY
    return found.access.failure if answered_otherwise and _status(found.access) != _FORBIDDEN else None


def _deciding_exchange(found: KeyTestFindings) -> ProbeExchange | None:
    """The call whose end the second step reports."""
    if _class_of(found.chat) is not FailureClass.AUTH and _refusal(found) is not None:
        return found.access
    return found.chat or found.access or found.first


def _passed(exchange: ProbeExchange | None) -> bool:
    """Whether a call went through, or failed only for how small it is."""
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
    return failure.message if failure else "nothing is known"


WINDOW = 8
"""Characters in a row that are taken out: what providers show of a key to tell it from others is shorter."""


_MARK = "[redacted]"


def redact_key(text: str, key: str) -> str:
    """`text` with every run of at least WINDOW characters of `key`, and the whole of a shorter key, replaced by a mark."""
    window = min(WINDOW, len(key))
    if not window:
        return text
    parts: list[str] = []
    at = kept_from = 0
    while at + window <= len(text):
        if text[at : at + window] not in key:
            at += 1
            continue
        end = at + window
        while end < len(text) and text[at : end + 1] in key:
            end += 1
        parts += [text[kept_from:at], _MARK]
        at = kept_from = end
    return "".join([*parts, text[kept_from:]])
