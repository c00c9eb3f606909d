"""Assembles what signing in needs, from the settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.secret import Secret
from keyferry.contracts.sign_in_management import SESSION_TOUCH, SESSIONS_VIEW
from keyferry.contracts.topology import TENANTS_VIEW
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.views import KvView
from services.console.service_client import USUAL_SECONDS, ServiceClient
from services.console.sign_in.authenticator import Authenticator
from services.console.sign_in.code_flow import CodeFlow, ProviderConfig
from services.console.sign_in.cookies import CookiePolicy
from services.console.sign_in.device_flow import DeviceFlow
from services.console.sign_in.identity_provider import IdentityProvider
from services.console.sign_in.login_state import LoginStateCipher
from services.console.sign_in.provider_client import ProviderClient
from services.console.sign_in.routes import BrowserLogin, SignInRoutes
from services.console.sign_in.session_index import SessionIndex
from services.console.sign_in.session_starter import SessionStarter
from services.console.sign_in.settings import SignInSettings


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the console's process starts, and what its middleware needs."""

    sessions: SessionIndex
    authenticate: Authenticator
    routes: SignInRoutes
    client: ProviderClient | None

    async def stop(self) -> None:
        """Stop following the views, and close the connections to the identity provider."""
        await self.sessions.stop()
        if self.client is not None:
            await self.client.close()


def assemble_sign_in(
    settings: SignInSettings, bus: Bus, operator_token: Secret, clock: Callable[[], datetime]
) -> SignIn:
    """Return what signing in needs; nothing is started."""
    sessions = SessionIndex(
        KvView(bus, SESSIONS_VIEW),
        KvView(bus, MEMBERS_VIEW),
        KvView(bus, TENANTS_VIEW),
        touch=partial(bus.ask, SESSION_TOUCH, timeout_seconds=USUAL_SECONDS),
        clock=clock,
    )
    own_origin = settings.browser_url()
    cookies = CookiePolicy(secure=own_origin.startswith("https://"))
    login = _assemble_provider(settings, own_origin, clock)
    provider = login[0] if login else None
    authenticate = Authenticator(
        operator_token=operator_token,
        sessions=sessions,
        cookies=cookies,
        own_origin=own_origin,
        step_up=settings.step_up(),
        clock=clock,
        provider=provider,
        audience=settings.oidc_audience,
        mapping=settings.claims_mapping(),
    )
    services = ServiceClient(bus.ask)
    routes = SignInRoutes(
        services=services,
        sessions=sessions,
        starter=SessionStarter(
            services, idle_seconds=settings.session_idle_seconds, max_seconds=settings.session_max_seconds
        ),
        authenticate=authenticate,
        cookies=cookies,
        own_origin=own_origin,
        clock=clock,
        limiter=AddressLimiter(settings.sign_ins_per_minute),
        provider=login[1] if login else None,
        login_key=settings.login_key(),
    )
    return SignIn(sessions, authenticate, routes, provider.client if provider else None)


def _assemble_provider(
    settings: SignInSettings, own_origin: str, clock: Callable[[], datetime]
) -> tuple[IdentityProvider, BrowserLogin] | None:
    key = settings.session_key()
    if settings.oidc_issuer is None or key is None:
        return None
    client = ProviderClient(settings.oidc_client_id, settings.client_secret())
    provider = IdentityProvider(settings.oidc_issuer, client, monotonic=time.monotonic, now=lambda: clock().timestamp())
    config = ProviderConfig(
        client_id=settings.oidc_client_id,
        scopes=settings.oidc_scopes,
        callback_url=f"{own_origin}/auth/callback",
        home_url=f"{own_origin}/",
        mapping=settings.claims_mapping(),
        step_up=settings.step_up(),
    )
    code_flow = CodeFlow(provider, config)
    device_flow = DeviceFlow(provider, code_flow, settings.oidc_scopes)
    return provider, BrowserLogin(settings.oidc_issuer, code_flow, device_flow, LoginStateCipher(key))
