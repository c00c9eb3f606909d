"""How deep JSON is nested, judged before it is parsed: a parser that recurses can be driven into its own limit. Pure."""

import re

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_OPENS, _CLOSES = b"[{", b"]}"


def deeper_than(data: bytes, limit: int) -> bool:
    """Whether `data` opens more than `limit` arrays and objects at once. Also of text that is no whole JSON."""
    depth = 0
    for byte in _STRINGS.sub(b"", data):
        if byte in _OPENS:
            depth += 1
            if depth > limit:
                return True
        elif byte in _CLOSES:
            depth -= 1
    return False
