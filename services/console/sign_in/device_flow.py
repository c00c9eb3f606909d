"""The device flow for the command line (RFC 8628): the console asks the provider, so that its tokens stay on the server."""

from collections.abc import Mapping
from dataclasses import dataclass

from keyferry.contracts.text import is_safe
from services.console.sign_in.claims import ClaimedIdentity
from services.console.sign_in.code_flow import CodeFlow
from services.console.sign_in.identity_provider import IdentityProvider
from services.console.sign_in.provider_document import ProviderProblem, is_allowed_url

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MAX_CODE_CHARACTERS = 2048
_MAX_USER_CODE_CHARACTERS = 64
_MAX_LIFETIME_SECONDS = 3600
_DEFAULT_INTERVAL_SECONDS = 5
_MAX_INTERVAL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """What the command line shows, and what it polls with."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    interval: int


class DeviceFlow:
    """Begins device logins, and asks whether the person has finished."""

    def __init__(self, provider: IdentityProvider, code_flow: CodeFlow, scopes: str) -> None:
        self._provider = provider
        self._code_flow = code_flow
        self._scopes = scopes

    async def begin(self) -> DeviceLogin:
        """Begin a login. Raises ProviderProblem and ProviderRefusal."""
        answer = await self._provider.client.post(await self._endpoint(), {"scope": self._scopes})
        return DeviceLogin(
            device_code=_text(answer, "device_code", _MAX_CODE_CHARACTERS),
            user_code=_text(answer, "user_code", _MAX_USER_CODE_CHARACTERS),
            verification_uri=_url(answer, "verification_uri") or _missing("verification_uri"),
            verification_uri_complete=_url(answer, "verification_uri_complete"),
            expires_in=_seconds(answer, "expires_in", _MAX_LIFETIME_SECONDS, _MAX_LIFETIME_SECONDS),
            interval=_seconds(answer, "interval", _DEFAULT_INTERVAL_SECONDS, _MAX_INTERVAL_SECONDS),
        )

    async def poll(self, device_code: str) -> ClaimedIdentity:
        """Return who has signed in. Raises ProviderRefusal while the person has not, ProviderProblem and InvalidToken."""
        document = await self._provider.document()
        form = {"grant_type": _GRANT, "device_code": device_code}
        return await self._code_flow.identify(await self._provider.client.post(document.token_endpoint, form), None)

    async def _endpoint(self) -> str:
        endpoint = (await self._provider.document()).device_authorization_endpoint
        if endpoint is None:
            raise ProviderProblem(
                "the identity provider has no device flow: sign in with a browser, or turn it on for this client"
            )
        return endpoint


def _text(answer: Mapping[str, object], name: str, most: int) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= most and is_safe(value) else _missing(name)


def _url(answer: Mapping[str, object], name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) and is_allowed_url(value) else None


def _seconds(answer: Mapping[str, object], name: str, default: int, most: int) -> int:
    value = answer.get(name, default)
    return min(max(value, 1), most) if isinstance(value, int) and not isinstance(value, bool) else default


def _missing(name: str) -> str:
    raise ProviderProblem(f"the identity provider's answer has no usable `{name}`")
