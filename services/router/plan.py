"""From a request and the facts to an ordered plan of attempts, with a reason for every candidate, kept or dropped."""

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, DropReason, Endpoint
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import Asked
from services.router.facts import Facts, Plan, Wanted
from services.router.key_candidates import KeyCandidate, key_candidates, payers
from services.router.provider_keys import KeyTestResult
from services.router.refusal import refusal
from services.router.standing import Judge

ECHO = "echo"
CUSTOM = "custom"


def plan(wanted: Wanted, facts: Facts) -> Plan:
    """Decide. Constraints first, then whose key pays, then health, then the order.

    The echo and the tenant's own endpoints come first, the lower priority number before the name; then its provider keys
    and the platform's, in the order of its policy. A target whose time to rest is over is tried first among those, once in
    a while, since the next candidate answers if it fails again; otherwise it comes last until a trial has succeeded.
    """
    asked = facts.catalog.resolve(wanted.model)
    building = _Building(wanted, facts, asked)
    building.add_echo()
    for endpoint in sorted(facts.endpoints, key=lambda e: (e.priority, e.name)):
        building.add_endpoint(endpoint)
    building.add_keys()
    return building.finished()


class _Building:
    """A plan while it is made."""

    def __init__(self, wanted: Wanted, facts: Facts, asked: Asked) -> None:
        self._wanted = wanted
        self._facts = facts
        self._asked = asked
        self._ban = _ban(wanted, facts, (wanted.model,))
        self._judge = Judge(wanted, facts)
        self._candidates: list[Candidate] = []
        self._endpoints: dict[int, Endpoint] = {}
        self._keys: dict[int, KeyFacts] = {}
        self._order: list[tuple[tuple[int | float, ...], int]] = []
        self._shadowed = False
        """Whether the name means an endpoint of the tenant's own, and nothing of the catalog."""
        self._endpoint_offers = False

    def add_echo(self) -> None:
        """The built-in echo."""
        candidate = _echo(self._wanted, self._ban)
        if candidate.kept:
            self._order.append(((0,), 0))
        self._candidates.append(candidate)

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """One of the tenant's own endpoints."""
        index = len(self._candidates)
        self._endpoints[index] = endpoint
        candidate, named = _custom(self._wanted, endpoint, self._ban)
        self._shadowed = self._shadowed or named
        self._endpoint_offers = self._endpoint_offers or candidate.reason is not DropReason.MODEL_NOT_OFFERED
        if candidate.kept:
            candidate, standing = self._judge.judged(candidate, may_try=True)
            if candidate.kept:
                self._order.append(((0, standing, index), index))
        self._candidates.append(candidate)

    def add_keys(self) -> None:
        """What provider keys can pay for, unless the name belongs to one of the tenant's endpoints.

        A request that names an endpoint must not reach a provider that happens to be called the same; and vectors of an
        endpoint cannot be told to be those of the catalog's model.
        """
        embeds_itself = self._wanted.kind is RequestKind.EMBEDDING and self._endpoint_offers
        if self._shadowed or embeds_itself or not self._asked.offerings:
            return
        if self._facts.tenant is None:
            self._candidates.append(_unknown_tenant(self._wanted, self._asked))
            return
        names = (self._wanted.model, self._asked.model.id) if self._asked.model else (self._wanted.model,)
        ban = _ban(self._wanted, self._facts, names)
        paying = payers(self._wanted, self._facts, self._asked, has_own_way=self._endpoint_offers)
        made = list(key_candidates(self._wanted, self._facts, self._asked, ban, paying))
        for rank in range(len(paying)):
            leading = not self._order
            for candidate in made:
                if candidate.payer == rank:
                    self._add_key(candidate, may_try=leading)

    def _add_key(self, found: KeyCandidate, *, may_try: bool) -> None:
        index = len(self._candidates)
        candidate = found.candidate
        if found.key is not None:
            self._keys[index] = found.key
        if candidate.kept:
            candidate, standing = self._judge.judged(candidate, may_try=may_try)
            if candidate.kept:
                place = (1 + found.payer, standing, *found.rank(self._wanted.request_id))
                self._order.append((place, index))
        self._candidates.append(candidate)

    def finished(self) -> Plan:
        """The plan, or why there is none."""
        order = [index for _, index in sorted(self._order)]
        failure = None if order else refusal(self._wanted, self._facts, self._asked, self._candidates)
        return Plan(self._candidates, order, failure, self._endpoints, self._keys)


def _ban(wanted: Wanted, facts: Facts, names: tuple[str, ...]) -> KeyTestResult:
    """What forbids every candidate alike, if anything does. `names` are those that a client token may know it by."""
    if facts.tenant is None or facts.tenant.suspended:
        return DropReason.TENANT_SUSPENDED, f"the tenant {wanted.tenant} is suspended or unknown"
    if wanted.allowed_models is not None and not any(name in wanted.allowed_models for name in names):
        return DropReason.MODEL_NOT_ALLOWED, f"the client token may not use {wanted.model}"
    return None


def _echo(wanted: Wanted, ban: KeyTestResult) -> Candidate:
    if wanted.model != ECHO:
        detail = "the built-in echo only answers to `echo`"
        return _dropped(ECHO, None, ECHO, KeySource.NONE, DropReason.NOT_NAMED, detail)
    if ban is not None:
        return _dropped(ECHO, None, ECHO, KeySource.NONE, *ban)
    return Candidate(
        provider=ECHO,
        model=ECHO,
        key_source=KeySource.NONE,
        kept=True,
        detail="the built-in echo was asked for by name",
    )


def _custom(wanted: Wanted, endpoint: Endpoint, ban: KeyTestResult) -> tuple[Candidate, bool]:
    """The endpoint as a candidate, and whether the request names it."""
    owner, slash, rest = wanted.model.partition("/")
    named = bool(slash) and owner == endpoint.name and bool(rest)
    model = rest if named else wanted.model
    listed = wanted.model in endpoint.models
    if not named and not listed:
        reason, detail = DropReason.MODEL_NOT_OFFERED, f"the endpoint {endpoint.name} does not list {wanted.model}"
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, detail), named
    if not endpoint.enabled:
        reason, detail = DropReason.ENDPOINT_DISABLED, f"the endpoint {endpoint.name} is switched off"
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, detail), named
    if ban is not None:
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, *ban), named
    detail = (
        f"the request names the endpoint {endpoint.name}"
        if named and not listed
        else f"the endpoint {endpoint.name} lists {wanted.model} (priority {endpoint.priority})"
    )
    candidate = Candidate(
        provider=CUSTOM, endpoint=endpoint.name, model=model, key_source=KeySource.CUSTOM, kept=True, detail=detail
    )
    return candidate, named


def _unknown_tenant(wanted: Wanted, asked: Asked) -> Candidate:
    verdict = DropReason.TENANT_SUSPENDED, f"the tenant {wanted.tenant} is suspended or unknown"
    offering = asked.offerings[0]
    return _dropped(offering.provider, None, offering.upstream, KeySource.PLATFORM, *verdict)


def _dropped(
    provider: str, endpoint: str | None, model: str, key_source: KeySource, reason: DropReason, detail: str
) -> Candidate:
    return Candidate(
        provider=provider,
        endpoint=endpoint,
        model=model,
        key_source=key_source,
        kept=False,
        reason=reason,
        detail=detail,
    )
