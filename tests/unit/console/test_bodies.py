"""Request bodies and queries refuse text, numbers and times that no service could keep."""

import pytest
from pydantic import BaseModel

from services.console import bodies, tenant_bodies, token_bodies
from tests.support.repository.text_marks import unmarked

EXPLICIT = {("TryKeyBody", "fields"), ("AddKeyBody", "fields"), ("AuditPaging", "after")}
"""Fields with a pattern of their own."""


def inputs() -> list[type[BaseModel]]:
    found = {
        value.__name__: value
        for module in (bodies, tenant_bodies, token_bodies)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    }
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("model", inputs(), ids=lambda model: model.__name__)
def test_every_text_of_a_request_is_refused_or_cleaned_and_every_number_has_a_bound(model: type[BaseModel]) -> None:
    found = {
        name: parts
        for name, field in model.model_fields.items()
        if (model.__name__, name) not in EXPLICIT and (parts := list(unmarked(field.annotation, tuple(field.metadata))))
    }
    assert not found, "give the field a type of keyferry.contracts.text or keyferry.contracts.ids"


def test_all_bodies_are_found() -> None:
    assert len(inputs()) > 10
