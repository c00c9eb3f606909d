"""Settings of signing in: the identity provider, its claims, sessions, step-up, and the built-in login."""

from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.ids import is_tenant_id
from keyferry.contracts.secret import Secret
from keyferry.contracts.sessions import ClaimedMembership
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tier
from keyferry.runtime.http.settings import HttpSettings
from keyferry.runtime.process.settings import SecretFile, SettingsError, read_random_secret, read_secret
from services.console.sign_in.claims import ClaimsMapping
from services.console.sign_in.provider_document import is_allowed_url
from services.console.sign_in.step_up import StepUpPolicy

_LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
_ALL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared
"""What listens on every address, and the one by which this machine reaches it."""

K = TypeVar("K")


def _parse_words(value: object) -> object:
    return frozenset(part for part in value.replace(",", " ").split() if part) if isinstance(value, str) else value


def _parse_pairs(value: object) -> object:
    """Parse `value=meaning,value=meaning`; the last `=` of a part separates the two, as a group may have one."""
    if not isinstance(value, str):
        return value
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, separator, meaning = part.rpartition("=")
        if not separator or not name or not meaning:
            raise ValueError("write it like value=meaning, several separated by commas")
        pairs[name.strip()] = meaning.strip()
    return pairs


Words = Annotated[frozenset[str], NoDecode, BeforeValidator(_parse_words)]
"""Words separated by commas or spaces."""
Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_pairs)]
"""`value=meaning`, separated by commas."""


class SignInSettings(HttpSettings):
    """How people sign in. Without an issuer and without a login key nobody can, and only the operator's token works."""

    http_port: int = Field(default=8401, ge=1, le=65535)
    public_url: str | None = None
    """Where browsers reach the console, such as https://keyferry.example.com; its own address if not set."""
    oidc_issuer: str | None = None
    """The identity provider's own name, letter by letter, such as https://id.example.com/realms/keyferry."""
    oidc_client_id: str = "keyferry-console"
    oidc_client_secret_file: SecretFile | None = None
    """The client's secret; a client without one is public, and protected by PKCE alone."""
    oidc_audience: str = "keyferry-api"
    """The audience (`aud`) of access tokens that programs present to the management API."""
    oidc_scopes: str = "openid profile email"
    oidc_tenant_claim: str = "tenant"
    oidc_role_claim: str = "realm_access.roles"
    oidc_operator_claim: str = "realm_access.roles"
    oidc_membership_claim: str = "groups"
    oidc_tier_claim: str = "subscription_tier"
    oidc_name_claim: str = "name"
    oidc_email_claim: str = "email"
    oidc_roles: Pairs = Field(default_factory=lambda: {f"keyferry-{role}": role.value for role in TENANT_ROLES})
    """Value of the role's claim = role."""
    oidc_operators: Words = frozenset({"keyferry-operator"})
    """Values of the operator's claim that make an operator; none if empty."""
    oidc_tenants: Pairs = Field(default_factory=dict)
    """Value of the tenant's claim = tenant; without any, the value is the tenant."""
    oidc_memberships: Pairs = Field(default_factory=dict)
    """Value of the membership's claim = tenant:role."""
    oidc_tiers: Pairs = Field(default_factory=lambda: {tier.value: tier.value for tier in Tier})
    """Value of the tier's claim = tier."""
    session_key_file: SecretFile | None = None
    """The key under which the state of a sign-in travels through the browser; needed with an issuer."""
    session_idle_seconds: int = Field(default=8 * 3600, ge=60, le=30 * 86400)
    """How long a session lives without a request."""
    session_max_seconds: int = Field(default=7 * 86400, ge=300, le=365 * 86400)
    """How long a session lives at most."""
    sign_ins_per_minute: int = Field(default=120, ge=1, le=1_000_000)
    """Requests under /auth of one IPv4 address or one IPv6 /64; further ones get a 429. A device login polls once a second."""
    step_up_acr: Words = frozenset()
    """A session must have one of these authentication contexts to change provider keys; any if empty."""
    step_up_amr: Words = frozenset()
    """A session must have been started with all of these methods to change provider keys."""
    step_up_max_age_seconds: int | None = Field(default=None, ge=30, le=30 * 86400)
    """How long ago the person may have proved who they are, to change provider keys."""
    login_key_file: SecretFile | None = None
    """The key of the built-in login: anybody who can read it on this machine may sign in as anybody."""

    def check_files(self) -> None:
        """Check what must fit together. Raises SettingsError with the remedy."""
        super().check_files()
        _ = self.session_key(), self.login_key(), self.client_secret(), self.claims_mapping()
        if self.public_url is not None and not (is_allowed_url(self.public_url) and self.public_url.count("/") == 2):
            raise SettingsError(
                "KEYFERRY_PUBLIC_URL must be an https address without a path, such as https://keyferry.example.com; http only on"
                " this machine"
            )
        if self.oidc_issuer is not None:
            self._check_issuer(self.oidc_issuer)
        if self.login_key_file is not None:
            self._check_built_in_login()

    def _check_issuer(self, issuer: str) -> None:
        if not is_allowed_url(issuer) or "?" in issuer:
            raise SettingsError("KEYFERRY_OIDC_ISSUER must be an https URL without a query; http only on this machine")
        if self.public_url is None and self.http_host not in (*_LOOPBACK_HOSTS, *_ALL_HOSTS):
            raise SettingsError(
                "KEYFERRY_OIDC_ISSUER is set and KEYFERRY_PUBLIC_URL is not: sessions would travel to KEYFERRY_HTTP_HOST in plain"
                " http. Name the https address at which browsers reach the console"
            )
        if self.session_key_file is None:
            raise SettingsError(
                "KEYFERRY_OIDC_ISSUER is set and KEYFERRY_SESSION_KEY_FILE is not: name a file with a random secret, the same"
                " one for every replica of the console"
            )
        if self.oidc_audience == self.oidc_client_id:
            raise SettingsError(
                "KEYFERRY_OIDC_AUDIENCE and KEYFERRY_OIDC_CLIENT_ID are the same: an ID token, which the browser's flow"
                " returns, would then be a credential for the management API. Choose another audience"
            )

    def _check_built_in_login(self) -> None:
        """Refuse a built-in login anywhere but on a machine of one's own. Raises SettingsError."""
        if self.oidc_issuer is not None:
            raise SettingsError(
                "KEYFERRY_LOGIN_KEY_FILE and KEYFERRY_OIDC_ISSUER are both set: the built-in login would let past the identity"
                " provider everybody who can read that file. Remove one of them"
            )
        if self.http_host not in _LOOPBACK_HOSTS:
            raise SettingsError(
                "KEYFERRY_LOGIN_KEY_FILE is set, and the console listens on other addresses than this machine's own: the built-in"
                " login is for KEYFERRY_HTTP_HOST=127.0.0.1 only. Remove it, and set KEYFERRY_OIDC_ISSUER to let people sign in"
            )
        if urlsplit(self.browser_url()).hostname not in _LOOPBACK_HOSTS:
            raise SettingsError(
                "KEYFERRY_LOGIN_KEY_FILE is set, and KEYFERRY_PUBLIC_URL is another address than this machine's own: behind"
                " a proxy the built-in login would be open to everybody. Remove one of them, or set KEYFERRY_OIDC_ISSUER"
            )

    def browser_url(self) -> str:
        """Return where browsers reach the console, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = _ALL_HOSTS.get(self.http_host, self.http_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.http_port}"

    def step_up(self) -> StepUpPolicy:
        """Return what changes of provider keys need."""
        return StepUpPolicy(self.step_up_acr, self.step_up_amr, self.step_up_max_age_seconds)

    def session_key(self) -> Secret | None:
        """Return the key of the state of a sign-in. Raises SettingsError."""
        return None if self.session_key_file is None else read_random_secret(self.session_key_file, "the session key")

    def login_key(self) -> Secret | None:
        """Return the key of the built-in login. Raises SettingsError."""
        return None if self.login_key_file is None else read_random_secret(self.login_key_file, "the login key")

    def client_secret(self) -> Secret | None:
        """Return the client's secret at the provider. Raises SettingsError."""
        return None if self.oidc_client_secret_file is None else read_secret(self.oidc_client_secret_file)

    def claims_mapping(self) -> ClaimsMapping:
        """Return which claims mean what. Raises SettingsError naming the setting at fault."""
        return ClaimsMapping(
            tenant=self.oidc_tenant_claim,
            role=self.oidc_role_claim,
            operator=self.oidc_operator_claim,
            membership=self.oidc_membership_claim,
            tier=self.oidc_tier_claim,
            name=self.oidc_name_claim,
            email=self.oidc_email_claim,
            roles={value: _role(name, "KEYFERRY_OIDC_ROLES") for value, name in self.oidc_roles.items()},
            operators=self.oidc_operators,
            tenants={value: _tenant(name, "KEYFERRY_OIDC_TENANTS") for value, name in self.oidc_tenants.items()},
            memberships={value: _membership(text) for value, text in self.oidc_memberships.items()},
            tiers=_tiers(self.oidc_tiers),
        )


def _role(name: str, setting: str) -> AccessRole:
    if name not in TENANT_ROLES:
        raise SettingsError(f"{setting}: a role is one of {', '.join(TENANT_ROLES)}")
    return AccessRole(name)


def _tenant(name: str, setting: str) -> str:
    if not is_tenant_id(name) or name == PLATFORM_TENANT:
        raise SettingsError(f"{setting}: a tenant is named by 1 to 63 of a-z, 0-9 and hyphens, and is not the platform")
    return name


def _membership(text: str) -> ClaimedMembership:
    tenant, _, role = text.partition(":")
    setting = "KEYFERRY_OIDC_MEMBERSHIPS"
    return ClaimedMembership(tenant=_tenant(tenant, setting), role=_role(role, setting))


def _tiers(pairs: Mapping[str, str]) -> Mapping[str, Tier]:
    try:
        return {value: Tier(name) for value, name in pairs.items()}
    except ValueError:
        raise SettingsError(f"KEYFERRY_OIDC_TIERS: a tier is one of {', '.join(Tier)}") from None
