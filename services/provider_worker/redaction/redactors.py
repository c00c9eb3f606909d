"""Makes the redactors of a worker's calls, and reports providers that repeat the key they are called with. Pure."""

import logging
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from keyferry.sealing.leased import LeasedKey
from services.provider_worker.redaction.reader import ResponseRedactor
from services.provider_worker.redaction.secret_forms import SecretForms
from services.provider_worker.upstream.attach_key import parts_of, signature_in

_log = logging.getLogger(__name__)

_MAX_REPORTED = 10_000


class Redactors:
    """Makes a redactor for the response to each call of one worker process. A key's forms live as long as its lease."""

    def __init__(self) -> None:
        self.repetitions = 0
        """How many responses repeated their call's key."""
        self._forms: WeakKeyDictionary[LeasedKey, SecretForms] = WeakKeyDictionary()
        self._reported: set[tuple[str, str]] = set()

    def for_call(self, key: LeasedKey, headers: Mapping[str, str]) -> ResponseRedactor:
        """Return a redactor for the response to a request with these headers, made by `attach_key`."""
        if (forms := self._forms.get(key)) is None:
            forms = self._forms[key] = SecretForms(parts_of(key))
        return ResponseRedactor(forms, signature_in(headers))

    def report(self, redactor: ResponseRedactor, key: LeasedKey) -> None:
        """Count a response in which the key was found, and log a warning for the first one of an origin and key."""
        if not redactor.found:
            return
        self.repetitions += 1
        if (key.origin, key.key_id) in self._reported or len(self._reported) >= _MAX_REPORTED:
            return
        self._reported.add((key.origin, key.key_id))
        _log.warning(
            "a provider repeated the key that it was called with; the key was replaced in the answer and in the records",
            extra={"provider": key.provider, "origin": key.origin, "key_id": key.key_id},
        )
