"""Takes a key out of what a provider says about it. Pure.

Providers like to repeat the key that they refuse. Patterns know the keys of most of them; here it is known which key it is.
"""

WINDOW = 8
"""Characters in a row that are taken out: what providers show of a key to tell it from others is shorter."""
_MARK = "[redacted]"


def without_key(text: str, key: str) -> str:
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
