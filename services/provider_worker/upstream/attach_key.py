"""Attaches a leased key to a request, if the request goes to the key's own origin. The only place where a key meets a URL.

The origin is read from the very URL that is called next, with the parser that the connector itself uses, and redirects are never
followed. So whatever an attempt, an adapter or a response says, the key is not sent anywhere else. Pure.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.origin import ForbiddenUrl, check_url
from keyferry.contracts.secret import Secret
from keyferry.sealing.leased import LeasedKey, OriginMismatch
from services.provider_worker.adapters.adapter import BEARER, HeaderAuth, RefusedByAdapter, UpstreamRequest
from services.provider_worker.upstream.signing import ALGORITHM, BadAccessKey, parse_access_key, sign_request

_SENDABLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
"""RFC 9110 section 5.5 without space: any other character in a key could end its header and begin another."""
METHOD = "POST"


class NotAttached(RefusedByAdapter):
    """The key cannot be attached to this request, so nothing is sent. The failure never repeats the key."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Failure(failure_class=FailureClass.INTERNAL, message=f"nothing was sent: {message}", where=Where.NOT_SENT)
        )


def origin_of(url: str) -> str:
    """Return where a request to `url` goes, as `scheme://host[:port]`. Raises NotAttached for a URL that cannot be called.

    Which schemes, ports and addresses may be called is decided by the connector, not here.
    """
    try:
        return str(check_url(url, allow_plain_http=True, ports=None))
    except ForbiddenUrl as error:
        raise NotAttached(f"the endpoint's URL cannot be called: {error.reason}") from None


def attach_key(request: UpstreamRequest, key: LeasedKey, now: datetime) -> dict[str, str]:
    """Return the request's headers with the key in them, for a POST to `request.url`. `now` is the signature's time (UTC).

    Raises NotAttached if the URL's origin is not the key's own, or the key cannot be sent as it is.
    """
    try:
        secret = key.for_origin(origin_of(request.url))
    except OriginMismatch as error:
        raise NotAttached(str(error)) from None
    if _SENDABLE.fullmatch(secret.reveal()) is None:
        raise NotAttached(f"the key {key.key_id} has characters that no header can carry; add it again")
    if isinstance(request.auth, HeaderAuth):
        return _in_header(request, request.auth, secret)
    try:
        access_key = parse_access_key(secret)
    except BadAccessKey as error:
        raise NotAttached(f"the key {key.key_id} cannot be used: {error}") from None
    if access_key is None:
        return _in_header(request, BEARER, secret)
    return sign_request(
        METHOD,
        request.url,
        _without(request, "authorization"),
        request.content,
        access_key=access_key,
        service=request.auth.service,
        region=request.auth.region,
        now=now,
    )


def parts_of(key: LeasedKey) -> tuple[Secret, ...]:
    """Return everything that is secret about a key: the whole, and the parts of an AWS access key."""
    whole = key.for_origin(key.origin)
    try:
        access_key = parse_access_key(whole)
    except BadAccessKey:
        access_key = None
    if access_key is None:
        return (whole,)
    token = () if access_key.session_token is None else (access_key.session_token,)
    return (whole, Secret(access_key.access_key_id), access_key.secret, *token)


def signature_in(headers: Mapping[str, str]) -> str:
    """Return the signature in headers made by `attach_key`; empty if they hold the key itself."""
    value = headers.get("authorization", "")
    return value.rpartition("Signature=")[2] if value.startswith(ALGORITHM) else ""


def _in_header(request: UpstreamRequest, auth: HeaderAuth, secret: Secret) -> dict[str, str]:
    return _without(request, auth.name.lower()) | {auth.name: f"{auth.prefix}{secret.reveal()}"}


def _without(request: UpstreamRequest, name: str) -> dict[str, str]:
    """Return the other headers: of two with the same name the provider might choose either."""
    return {other: value for other, value in request.headers.items() if other.lower() != name}
