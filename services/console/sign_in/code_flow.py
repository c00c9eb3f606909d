"""The authorization code flow with PKCE in the browser, and signing out (OpenID Connect Core, RFC 7636, RP-Initiated Logout)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from services.console.sign_in.claims import ClaimedIdentity, ClaimsMapping, read_identity
from services.console.sign_in.identity_provider import IdentityProvider
from services.console.sign_in.login_state import LoginState
from services.console.sign_in.provider_document import ProviderProblem
from services.console.sign_in.step_up import StepUpPolicy
from services.console.sign_in.token_verification import TokenPolicy, TokenUse


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """The console as a client of the identity provider."""

    client_id: str
    scopes: str
    callback_url: str
    home_url: str
    mapping: ClaimsMapping
    step_up: StepUpPolicy


class CodeFlow:
    """Sends browsers to the identity provider, and verifies what they bring back."""

    def __init__(self, provider: IdentityProvider, config: ProviderConfig) -> None:
        self._provider = provider
        self._config = config

    async def authorization_url(self, state: LoginState) -> str:
        """Return where to send the browser. Raises ProviderProblem."""
        document = await self._provider.document()
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._config.callback_url,
            "scope": self._config.scopes,
            "state": state.state,
            "nonce": state.nonce,
            "code_challenge": state.challenge,
            "code_challenge_method": "S256",
            **(self._step_up_parameters() if state.step_up else {}),
        }
        return _with_query(document.authorization_endpoint, query)

    async def redeem(self, code: str, state: LoginState) -> ClaimedIdentity:
        """Return who has signed in. Raises ProviderProblem, ProviderRefusal and InvalidToken."""
        document = await self._provider.document()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._config.callback_url,
            "code_verifier": state.verifier,
        }
        return await self.identify(await self._provider.client.post(document.token_endpoint, form), state.nonce)

    async def identify(self, answer: Mapping[str, object], nonce: str | None) -> ClaimedIdentity:
        """Return who the ID token in a token response names. Raises ProviderProblem and InvalidToken."""
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderProblem(
                "the identity provider has sent no ID token: does the client have the scope `openid`?"
            )
        policy = TokenPolicy(TokenUse.ID, self._provider.issuer, self._config.client_id, nonce)
        return read_identity(await self._provider.verify(token, policy), self._config.mapping)

    async def logout_url(self) -> str | None:
        """Return where the browser ends its session at the provider, too; None if the provider has no such page."""
        try:
            document = await self._provider.document()
        except ProviderProblem:
            return None
        if document.end_session_endpoint is None:
            return None
        query = {"client_id": self._config.client_id, "post_logout_redirect_uri": self._config.home_url}
        return _with_query(document.end_session_endpoint, query)

    def _step_up_parameters(self) -> dict[str, str]:
        """Return what asks the provider to authenticate the person again, strongly enough."""
        policy = self._config.step_up
        wanted = {"acr_values": " ".join(sorted(policy.acr))} if policy.acr else {}
        if policy.max_age_seconds is None:
            return wanted | {"prompt": "login"}
        return wanted | {"max_age": str(policy.max_age_seconds)}


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
