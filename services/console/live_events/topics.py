"""What there are events about, and who may get them: those who may read the same over HTTP. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.live_events import CREDITS_CHANGED, DEAD_LETTERS_COUNTED, REQUESTS_RECORDED
from keyferry.contracts.topology import AUDIT_RECORDED, HEALTH_CHANGED, KEY_CHANGED, AnySubject
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.access import INSTALLATION_PREFIX, OWN_PREFIX, is_allowed


class Topic(StrEnum):
    """What an event is about; also its name in the stream."""

    ALERTS = "alerts"
    CREDITS = "credits"
    DEAD_LETTERS = "dead_letters"
    HEALTH = "health"
    KEYS = "keys"
    MEMBERS = "members"
    REQUESTS = "requests"
    RULES = "rules"
    TOKENS = "tokens"


TENANT_ROUTES: Mapping[Topic, str] = MappingProxyType(
    {
        Topic.ALERTS: f"{OWN_PREFIX}/alerts",
        Topic.CREDITS: f"{OWN_PREFIX}/credits",
        Topic.HEALTH: f"{OWN_PREFIX}/health/providers",
        Topic.KEYS: f"{OWN_PREFIX}/provider-keys",
        Topic.MEMBERS: f"{OWN_PREFIX}/members",
        Topic.REQUESTS: f"{OWN_PREFIX}/requests",
        Topic.RULES: f"{OWN_PREFIX}/routing/rules",
        Topic.TOKENS: f"{OWN_PREFIX}/client-tokens",
    }
)
"""The topics of a tenant, each with the route whose readers get its events."""
INSTALLATION_ROUTES: Mapping[Topic, str] = MappingProxyType(
    {
        Topic.DEAD_LETTERS: f"{INSTALLATION_PREFIX}/dead-letters",
        Topic.HEALTH: f"{INSTALLATION_PREFIX}/health/providers",
        Topic.REQUESTS: f"{INSTALLATION_PREFIX}/analytics",
    }
)
"""The topics of the installation."""
_SUBJECTS: Mapping[Topic, AnySubject] = MappingProxyType(
    {
        Topic.ALERTS: ALERT_CHANGED,
        Topic.CREDITS: CREDITS_CHANGED,
        Topic.DEAD_LETTERS: DEAD_LETTERS_COUNTED,
        Topic.HEALTH: HEALTH_CHANGED,
        Topic.KEYS: KEY_CHANGED,
        Topic.MEMBERS: AUDIT_RECORDED,
        Topic.REQUESTS: REQUESTS_RECORDED,
        Topic.RULES: AUDIT_RECORDED,
        Topic.TOKENS: AUDIT_RECORDED,
    }
)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who reads a stream, and what of."""

    tenant: str | None
    """None for the installation."""
    role: AccessRole
    actor: str
    topics: frozenset[Topic]

    def subjects(self) -> list[str]:
        """Return the subjects of everything that the audience may get, and of more: each message is filtered."""
        own = {} if self.tenant is None else {"tenant": self.tenant}
        return sorted({_SUBJECTS[topic].pattern(**own) for topic in self.topics})


def choose_topics(given: str | None, role: AccessRole, routes: Mapping[Topic, str]) -> frozenset[Topic]:
    """Return the topics that were asked for, or all that the role may read. Raises HttpProblem 422 and 403."""
    if given is None:
        return frozenset(topic for topic, route in routes.items() if is_allowed(role, "GET", route))
    names = {topic.value: topic for topic in routes}
    chosen = [name.strip() for name in given.split(",")]
    if not set(chosen) <= names.keys():
        message = f"topics: give names with commas between them; the topics here are {', '.join(sorted(names))}"
        raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param="topics")
    topics = frozenset(names[name] for name in chosen)
    if refused := sorted(topic.value for topic in topics if not is_allowed(role, "GET", routes[topic])):
        message = f"your credential does not allow the events of {', '.join(refused)}"
        raise HttpProblem(403, "permission_error", "not_allowed", message, param="topics")
    return topics
