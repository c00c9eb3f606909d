"""The format of an answer: whether it is CSV, and whether a browser opens the address. Pure."""

from collections.abc import Mapping
from datetime import datetime

from fastapi import Response

EXPORT_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/jsonl; charset=utf-8"}
"""By the format of an export: what its answer says it is."""
EXPORT_PLAIN_TYPES = tuple(each.partition(";")[0] for each in EXPORT_MEDIA_TYPES.values())
"""The same without parameters, for the OpenAPI document."""
CSV, PDF = "text/csv", "application/pdf"
_JSON = ("application/json", "application/*", "*/*")


def wants_csv(given: str | None, accept: str | None) -> bool:
    """Return whether an answer is to be CSV: by the parameter `format`, else by the header Accept (RFC 9110, section 12.5.1)."""
    if given is not None:
        return given == "csv"
    weights = _weights(accept or "")
    of_csv = weights.get(CSV, 0.0)
    return of_csv > max((weights.get(each, 0.0) for each in _JSON), default=0.0)


def wants_pdf(given: str | None, accept: str | None) -> bool:
    """Return whether an answer is to be a PDF, which no wildcard of the header Accept asks for."""
    if given is not None:
        return given == "pdf"
    weights = _weights(accept or "")
    others = max((weights.get(each, 0.0) for each in (CSV, *_JSON)), default=0.0)
    return weights.get(PDF, 0.0) > others


def accepts_html(accept: str | None) -> bool:
    """Return whether the header Accept names HTML, as that of a browser does that opens an address."""
    return _weights(accept or "").get("text/html", 0.0) > 0


def csv_response(text: str, name: str, as_of: datetime, complete_until: datetime | None) -> Response:
    """Return a file with a name, and what JSON answers say of themselves in headers."""
    headers = _headers(f"{name}.csv", as_of, complete_until)
    return Response(text.encode(), media_type=f"{CSV}; charset=utf-8; header=present", headers=headers)


def pdf_response(data: bytes, name: str, as_of: datetime, complete_until: datetime | None) -> Response:
    """Return a PDF with a name, and what JSON answers say of themselves in headers."""
    return Response(data, media_type=PDF, headers=_headers(f"{name}.pdf", as_of, complete_until))


def _headers(file: str, as_of: datetime, complete_until: datetime | None) -> dict[str, str]:
    headers = {
        "content-disposition": f'attachment; filename="{file}"',
        "keyferry-as-of": as_of.isoformat(),
        "vary": "accept",
    }
    if complete_until is not None:
        headers["keyferry-complete-until"] = complete_until.isoformat()
    return headers


def _weights(accept: str) -> Mapping[str, float]:
    """Return the weights by media type; what cannot be read has none."""
    weights: dict[str, float] = {}
    for part in accept.split(",")[:50]:
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weights[name] = max(weights.get(name, 0.0), min(float(weight), 1.0))
        except ValueError:
            continue
    return weights
