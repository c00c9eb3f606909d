"""What the double of Stripe knows: the objects of one account, in memory, and the events about them."""

import copy
import secrets
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deploy.billing_demo.stripe.problem import JsonObject, missing_object
from deploy.billing_demo.stripe.shapes import LABELS, PREFIXES, WITHOUT_CREATED, WITHOUT_LIVEMODE, empty_fields

_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 24
_CHECKOUT_ID_LENGTH = 58
Listener = Callable[[JsonObject], None]
"""Gets each new event."""


def api_version() -> str:
    """Return the API version of the installed `stripe` package, the one that this double speaks."""
    import stripe

    return str(stripe.api_version)


def random_text(length: int = _ID_LENGTH) -> str:
    """Return letters and digits that nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(slots=True)
class EventCause:
    """The request that causes events: its id and its idempotency key."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass
class StripeState:
    """The objects of one account. `now_seconds` counts seconds since 1970; `base_url` is where pages are served."""

    now_seconds: Callable[[], float] = time.time
    base_url: str = ""
    account_id: str = field(default_factory=lambda: f"acct_{random_text(16)}")
    livemode: bool = False
    tables: dict[str, dict[str, JsonObject]] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    cause: EventCause = field(default_factory=EventCause)
    forward_seconds: int = 0
    """By how much the double's clock is ahead, for subscriptions that renew."""

    @property
    def now(self) -> int:
        """The time in whole seconds since 1970."""
        return int(self.now_seconds()) + self.forward_seconds

    def add(self, kind: str, **values: Any) -> JsonObject:
        """Store a new object of a kind, such as `charge`, with the fields that all of its kind have; return it."""
        length = _CHECKOUT_ID_LENGTH if kind == "checkout.session" else _ID_LENGTH
        found: JsonObject = {"id": f"{PREFIXES[kind]}_{random_text(length)}", "object": kind}
        if kind not in WITHOUT_CREATED:
            found["created"] = self.now
        if kind not in WITHOUT_LIVEMODE:
            found["livemode"] = self.livemode
        found |= {**empty_fields(kind), **values}
        self.table(kind)[found["id"]] = found
        return found

    def table(self, kind: str) -> dict[str, JsonObject]:
        """Return the objects of a kind by their ids, the oldest first."""
        return self.tables.setdefault(kind, {})

    def get(self, kind: str, object_id: str, param: str = "id") -> JsonObject:
        """Return an object. Raises StripeApiError if there is none; `param` is the parameter that names it."""
        found = self.table(kind).get(object_id)
        if found is None:
            raise missing_object(LABELS.get(kind, kind), object_id, param)
        return found

    def find(self, object_id: str) -> JsonObject | None:
        """Return the object of any kind that has this id."""
        return next((table[object_id] for table in self.tables.values() if object_id in table), None)

    def where(self, kind: str, **values: Any) -> Iterator[JsonObject]:
        """Yield the objects of a kind that have these values, the oldest first."""
        for found in list(self.table(kind).values()):
            if all(found.get(name) == value for name, value in values.items()):
                yield found

    def emit(self, event_type: str, subject: JsonObject, previous: JsonObject | None = None) -> JsonObject:
        """Store an event with a copy of its subject and hand it to the listeners; return it."""
        data: JsonObject = {"object": copy.deepcopy(subject)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.add(
            "event",
            api_version=api_version(),
            type=event_type,
            data=data,
            pending_webhooks=0,
            request={"id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key},
        )
        for listener in self.listeners:
            listener(event)
        return event

    def change(self, subject: JsonObject, **values: Any) -> JsonObject:
        """Change fields of an object; return what they were before, for an event."""
        previous = {
            name: copy.deepcopy(subject.get(name)) for name, value in values.items() if subject.get(name) != value
        }
        subject.update(values)
        return previous


def merged_metadata(current: JsonObject, given: Any) -> JsonObject:
    """Return metadata after a change: names with an empty value are removed, and an empty value for all removes all."""
    if given in (None, ""):
        return {} if given == "" else current
    return {name: value for name, value in {**current, **given}.items() if value != ""}
