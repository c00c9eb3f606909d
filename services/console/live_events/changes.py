"""Messages of the bus as events: decoded once, and shown to each audience as far as it may know of them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.audit import AuditEvent, AuditOutcome
from keyferry.contracts.envelope import Message
from keyferry.contracts.health import CircuitState, HealthChange
from keyferry.contracts.key import KeyChanged
from keyferry.contracts.live_events import CreditAmounts, DeadLetterCount, RequestsRecorded
from services.console.health_bodies import TargetHealth
from services.console.live_events.bodies import (
    AlertEvent,
    ChangeEvent,
    DeadLettersEvent,
    HealthEvent,
    HealthOutage,
    KeyEvent,
    RequestsEvent,
)
from services.console.live_events.topics import Audience, Topic
from services.console.role_sets import ADMINS

_NAME_TOKENS = slice(2, 4)
_PAUSED = (CircuitState.OPEN, CircuitState.COOLING)
_TOPIC_OF_ACTIONS: Mapping[str, Topic] = MappingProxyType(
    {
        "routing_rules": Topic.RULES,
        "rule_draft": Topic.RULES,
        "preferences": Topic.RULES,
        "endpoint": Topic.RULES,
        "token": Topic.TOKENS,
        "member": Topic.MEMBERS,
        "invitation": Topic.MEMBERS,
        "team": Topic.MEMBERS,
    }
)
"""By the first word of an action of the audit log."""


@dataclass(slots=True)
class LiveChange:
    """Something that happened. `seq` is its number in the stream of the bus."""

    seq: int
    topic: Topic
    body: Message
    _rendered: dict[bool, str] = field(default_factory=dict)
    """For an operator of the installation, and for tenants."""

    @property
    def tenant(self) -> str | None:
        """The tenant that it is of; None if that depends on more."""
        return None if isinstance(self.body, HealthChange) else getattr(self.body, "tenant", None)

    def is_for(self, audience: Audience) -> bool:
        """Return whether an audience may know of it, and wants to."""
        if self.topic not in audience.topics:
            return False
        if audience.tenant is None:
            return True
        if isinstance(self.body, HealthChange):
            return self.body.may_be_shown_to(audience.tenant)
        if self.tenant != audience.tenant:
            return False
        if self.topic is Topic.TOKENS and audience.role not in ADMINS:
            # A developer sees no client tokens but its own.
            return isinstance(self.body, AuditEvent) and self.body.actor == audience.actor
        return True

    def render(self, audience: Audience) -> str:
        """Return its JSON for an audience, for which it is."""
        whole = audience.tenant is None
        if whole not in self._rendered:
            self._rendered[whole] = _RENDER[type(self.body)](self.body, whole).model_dump_json()
        return self._rendered[whole]


def decode_change(seq: int, subject: str, data: bytes) -> LiveChange | None:
    """Return what a message of the stream LIVE says; None if it is for no page. Raises MalformedMessage."""
    kind = _KINDS.get(".".join(subject.split(".")[_NAME_TOKENS]))
    if kind is None:
        return None
    message, topic = kind
    body = message.decode(data)
    if isinstance(body, AuditEvent):
        of_action = _TOPIC_OF_ACTIONS.get(body.action.partition(".")[0])
        if of_action is None or body.outcome is not AuditOutcome.DONE:
            return None
        topic = of_action
    return LiveChange(seq, topic, body)


def _requests(body: RequestsRecorded, _: bool) -> RequestsEvent:
    return RequestsEvent(requests=body.requests, skipped=body.skipped)


def _credits(body: CreditAmounts, _: bool) -> CreditAmounts:
    return body


def _health(body: HealthChange, whole: bool) -> HealthEvent:
    outage = None
    if body.state in _PAUSED:
        outage = HealthOutage.BEGAN
    elif body.state is CircuitState.CLOSED:
        outage = HealthOutage.ENDED
    shown = body if whole else body.model_copy(update={"target": body.target.shown_to_tenants})
    own = {name: value for name, value in dict(shown).items() if name in TargetHealth.model_fields}
    rate = round(100 * (1 - body.failures / body.samples), 2) if body.samples else None
    return HealthEvent(outage=outage, health=TargetHealth(**own | {"success_percent": rate}))


def _key(body: KeyChanged, _: bool) -> KeyEvent:
    return KeyEvent(
        key_id=body.key_id,
        provider=body.provider,
        change=body.change,
        status=body.status,
        detail=body.detail,
        at=body.at,
    )


def _audited(body: AuditEvent, _: bool) -> ChangeEvent:
    return ChangeEvent(action=body.action, target=body.target, at=body.at)


def _letters(body: DeadLetterCount, _: bool) -> DeadLettersEvent:
    return DeadLettersEvent(count=body.count, at=body.at)


def _alert(body: AlertChanged, _: bool) -> AlertEvent:
    return AlertEvent(
        alert_id=body.alert_id,
        rule_id=body.rule_id,
        state=body.state,
        severity=body.severity,
        title=body.title,
        at=body.at,
    )


_KINDS: Mapping[str, tuple[type[Message], Topic]] = MappingProxyType(
    {
        "request.recorded": (RequestsRecorded, Topic.REQUESTS),
        "credits.changed": (CreditAmounts, Topic.CREDITS),
        "health.changed": (HealthChange, Topic.HEALTH),
        "key.changed": (KeyChanged, Topic.KEYS),
        "audit.recorded": (AuditEvent, Topic.RULES),
        "alert.changed": (AlertChanged, Topic.ALERTS),
        "dead_letter.counted": (DeadLetterCount, Topic.DEAD_LETTERS),
    }
)
"""By the name of the subject; of an audit event its action says the topic."""
_RENDER: Mapping[type[Message], Callable[..., BaseModel]] = MappingProxyType(
    {
        RequestsRecorded: _requests,
        CreditAmounts: _credits,
        HealthChange: _health,
        KeyChanged: _key,
        AuditEvent: _audited,
        DeadLetterCount: _letters,
        AlertChanged: _alert,
    }
)
