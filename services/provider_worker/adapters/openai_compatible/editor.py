"""Edits the document of one request for a provider."""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import is_neutral
from services.provider_worker.adapters.response.json_text import JsonObject


class RequestEditor:
    """Edits one request for a provider. `document` is the caller's own object until something has to change."""

    def __init__(self, document: JsonObject, title: str, *, drop_unsupported: bool) -> None:
        self.document = document
        self.dropped: list[str] = []
        self._caller = document
        self._title = title
        self._drop_unsupported = drop_unsupported

    def remove(self, name: str) -> None:
        """Remove a parameter that asks for nothing."""
        self._own().pop(name, None)

    def set(self, name: str, value: object) -> None:
        """Set a parameter."""
        self._own()[name] = value

    def drop_or_reject(self, field: str, why: str = "", *, model: str | None = None) -> None:
        """Record that `field` is dropped. Raises RefusedByAdapter unless the tenant allows that.

        `why`: a sentence about the value, if another would do. `model`: the model that it is about, if others of the
        provider take the field.
        """
        if not self._drop_unsupported:
            raise bad_request(
                f"{self._describe_refusal(field, why, model)} leave it out, choose another {'model' if model else 'provider'}, or"
                " have your operator allow dropping unsupported fields.",
                field,
            )
        if field not in self.dropped:
            self.dropped.append(field)

    def _describe_refusal(self, field: str, why: str, model: str | None) -> str:
        if why:
            return f"{self._title} does not take `{field}` as it is. {why} Correct it,"
        if model:
            return f"The model {model} of {self._title} does not take `{field}` in this request;"
        return f"{self._title} does not support `{field}`;"

    def replace(self, document: JsonObject) -> None:
        """Go on with another document in place of the caller's."""
        self.document = document

    def rename(self, renames: Mapping[str, str]) -> None:
        """Give parameters the provider's names. Of two with the same meaning, the newer (the one renamed) wins."""
        for name, theirs in renames.items():
            value = self.document.get(name)
            if name in self.document:
                self.remove(name)
            if value is not None:
                self.set(theirs, value)

    def modernise(self, renames: Mapping[str, str]) -> None:
        """Give parameters the newer names that a model insists on; one that is there by its newer name stays."""
        for name, newer in renames.items():
            value = self.document.get(name)
            if name in self.document:
                self.remove(name)
                if value is not None and self.document.get(newer) is None:
                    self.set(newer, value)

    def strip(self, names: frozenset[str], model: str | None = None) -> None:
        """Remove the parameters `names`, which the provider does not take, or only this model of its.

        Raises RefusedByAdapter for one that asks for something and must not be dropped.
        """
        has_tools = bool(self._caller.get("tools") or self._caller.get("functions"))
        for name in [name for name in self.document if name in names]:
            if not is_neutral(name, self.document[name], has_tools=has_tools):
                self.drop_or_reject(name, model=model)
            self.remove(name)

    def _own(self) -> JsonObject:
        if self.document is self._caller:
            self.document = dict(self._caller)
        return self.document
