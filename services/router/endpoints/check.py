"""What a probe of an endpoint's address means for saving the endpoint. Pure."""

from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeOutcome
from services.router.endpoints.validation import InvalidEndpoint

SAVE_ANYWAY = "to save it all the same, switch the probe off (--no-probe, or `probe: false`)"
_MAX_NAMED = 8
_NEEDS_CREDENTIAL = (401, 403)


def check_address(forbidden: str | None, *, probe: bool) -> list[str]:
    """Return warnings about an address that the gateway does not call, for the reason `forbidden`.

    Raises InvalidEndpoint if the endpoint is to be tried: it would be in vain.
    """
    if forbidden is not None and probe:
        raise InvalidEndpoint(f"nothing was saved, because calls would fail: {forbidden}; {SAVE_ANYWAY}")
    return [] if forbidden is None else [f"calls will fail: {forbidden}"]


def check_probe(endpoint: Endpoint, probe: EndpointProbe) -> list[str]:
    """Return warnings about an endpoint that may work. Raises InvalidEndpoint for one that cannot, with the remedy."""
    if probe.outcome in (ProbeOutcome.FORBIDDEN, ProbeOutcome.UNREACHABLE):
        raise InvalidEndpoint(f"nothing was saved, because calls would fail: {probe.detail}; {SAVE_ANYWAY}")
    if probe.outcome is ProbeOutcome.ANSWERED:
        if probe.status in _NEEDS_CREDENTIAL:
            raise InvalidEndpoint(
                f"nothing was saved, because calls would fail: {probe.detail}, so it requires a credential, which an endpoint"
                " does not have; add it as a provider key instead"
                f" (`keyferry keys add --provider custom --tenant {endpoint.tenant}`); {SAVE_ANYWAY}"
            )
        return [f"{probe.detail} and no list of models, so it is unknown whether it has the models: send it a request"]
    missing = [name for name in endpoint.models if name not in probe.models]
    if missing:
        raise InvalidEndpoint(
            f"nothing was saved, because the server does not list {_names(missing)}; it lists"
            f" {_names(probe.models)}. Correct the model; {SAVE_ANYWAY}"
        )
    return []


def _names(names: list[str]) -> str:
    return (", ".join(names[:_MAX_NAMED]) or "none") + (", …" if len(names) > _MAX_NAMED else "")
