"""Origins of web pages as browsers send them (RFC 6454, section 6.2). Pure."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from keyferry.contracts.text import Refusing

ORIGIN_PATTERN = r"^https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$"
_FORM = "an origin as a browser sends it, in lower case and without a path, such as https://app.example.com"
_DEFAULT_PORT = re.compile(r"(?:http://.*:80|https://.*:443)")


def _refuse_default_port(origin: str) -> str:
    if _DEFAULT_PORT.fullmatch(origin):
        raise PydanticCustomError(
            "text", "Input should be an origin without the scheme's own port: browsers leave it out"
        )
    return origin


BrowserOrigin = Annotated[
    str, Refusing(255, pattern=ORIGIN_PATTERN, form=_FORM, no_key=True), AfterValidator(_refuse_default_port)
]
"""The origin of a web page."""
