"""What callers and operators write to narrow a model list down: `eu,recommended:chat,provider:openai`."""


class InvalidFilter(Exception):
    """A part of the text is no filter."""


def filters_in(text: str) -> dict[str, object]:
    """The fields of `ListModels` that `text` sets, parts separated by commas; of two of a kind the last. Raises InvalidFilter.

    `eu`, `recommended` (for any operation) or `recommended:OPERATION`, and `provider:NAME`.
    """
    fields: dict[str, object] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition(":")
        if name == "eu" and not value:
            fields["eu"] = True
        elif name == "recommended":
            fields["recommended"] = value or "any"
        elif name == "provider" and value:
            fields["provider"] = value
        else:
            raise InvalidFilter
    return fields
