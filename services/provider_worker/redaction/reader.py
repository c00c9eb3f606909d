"""Redacts what a provider's response becomes, on its way from the adapter to the caller and the records.

Adapters never see a key, so they cannot look for it. An error's body is redacted before its adapter reads it, since adapters
shorten messages, which leaves parts of a key. Answers are redacted as they come out of the adapter. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keyferry.contracts.failure import Failure
from keyferry.contracts.key import KeyTest
from services.provider_worker.adapters.adapter import Answer, AnswerReader
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES
from services.provider_worker.redaction.chunks import ChunkRedactor, JsonRedactor
from services.provider_worker.redaction.secret_forms import MARK, SecretForms

_LONG_NAMES = 150
"""Longer than all names of any answer together."""


class ResponseRedactor:
    """Redacts one response to a call with secrets, whose `forms` these are.

    `signature` was made with them for this call; in an error or a header it is replaced as it is.
    """

    def __init__(self, forms: SecretForms, signature: str = "") -> None:
        self._forms = forms
        self._signature = signature
        self._json = JsonRedactor(self._forms)
        self._found = False

    @property
    def found(self) -> bool:
        """Whether a secret was in what has been read so far."""
        return self._found or self._json.found

    def redact_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the response's headers without secrets."""
        joined = " ".join((*headers, *headers.values()))
        if not self._forms or self._redact(joined) == joined:
            return headers
        return {self._redact(name): self._redact(value) for name, value in headers.items()}

    def guard(self, reader: AnswerReader, status: int) -> AnswerReader:
        """Return a reader of the response's body that returns what `reader` does, without secrets."""
        if not self._forms:
            return reader
        return _AnswerRedactor(self, reader) if 200 <= status < 300 else _ErrorRedactor(self, reader)

    def chunk_redactor(self) -> ChunkRedactor:
        """Return a redactor for the chunks of the response."""
        return ChunkRedactor(self._forms, self._json)

    def redact_error_body(self, body: bytes) -> bytes:
        """Return the body of an error without secrets, not even parts of them."""
        # Byte for byte: what is not in the secrets' forms stays as it is, in any encoding.
        return self._redact_message(body.decode("latin-1")).encode("latin-1")

    def redact_answer(self, answer: Answer) -> Answer:
        """Return `answer` without secrets. Its late chunks are left as they are."""
        changed: dict[str, Any] = self._redact_names(answer)
        if answer.failure is not None:
            changed["failure"] = self.redact_failure(answer.failure)
        if answer.body and (body := self._json.redact(answer.body)) is not answer.body:
            changed["body"] = body
        return replace(answer, **changed) if changed else answer

    def redact_failure(self, failure: Failure) -> Failure:
        """Return `failure` without secrets, not even parts of them."""
        return failure.model_copy(
            update={
                name: self._redact_message(value)
                for name in ("message", "provider_code", "param")
                if isinstance(value := getattr(failure, name), str)
            }
        )

    def redact_key_test(self, test: KeyTest) -> KeyTest:
        """Return `test` without secrets, not even parts of them: a model whose name has one is left out."""
        return test.model_copy(
            update={
                "steps": [step.model_copy(update={"detail": self._redact_message(step.detail)}) for step in test.steps],
                "models": [name for name in test.models if MARK not in self._redact_message(name)],
            }
        )

    def _redact_names(self, answer: Answer) -> dict[str, str | None]:
        """Return the names of `answer` that have to be replaced."""
        names = {
            "finish_reason": answer.finish_reason,
            "model_served": answer.model_served,
            "service_tier": answer.service_tier,
        }
        joined = " ".join(name or "" for name in names.values())
        if len(joined) > _LONG_NAMES:  # one may have been cut off in a key
            return {field: name and self._redact_message(name) for field, name in names.items()}
        if self._redact(joined) == joined:
            return {}
        return {field: name and self._redact(name) for field, name in names.items()}

    def _without_signature(self, text: str) -> str:
        return text.replace(self._signature, MARK) if self._signature else text

    def _redact(self, text: str) -> str:
        clean = self._forms.redact_name(self._without_signature(text))
        self._found = self._found or clean != text
        return clean

    def _redact_message(self, text: str) -> str:
        clean = self._forms.redact_message(self._without_signature(text))
        self._found = self._found or clean != text
        return clean


class _AnswerRedactor:
    """Reads an answer under status 2xx."""

    def __init__(self, redactor: ResponseRedactor, reader: AnswerReader) -> None:
        self._redactor = redactor
        self._reader = reader
        self._chunks = redactor.chunk_redactor()

    @property
    def over(self) -> bool:
        return self._reader.over

    def feed(self, data: bytes) -> list[bytes]:
        return [self._chunks.redact(text) for text in self._reader.feed(data)]

    def close(self) -> Answer:
        answer = self._redactor.redact_answer(self._reader.close())
        late = (*map(self._chunks.redact, answer.late), *self._chunks.flush())
        if answer.failure is not None or late == answer.late:
            return answer
        return replace(answer, late=late)


class _ErrorRedactor:
    """Reads an error: its whole body is redacted before `reader` reads it."""

    def __init__(self, redactor: ResponseRedactor, reader: AnswerReader) -> None:
        self._redactor = redactor
        self._reader = reader
        self._body = bytearray()

    @property
    def over(self) -> bool:
        return len(self._body) > MAX_ERROR_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        self._body += data
        return []

    def close(self) -> Answer:
        self._reader.feed(self._redactor.redact_error_body(bytes(self._body)))
        return self._redactor.redact_answer(self._reader.close())
