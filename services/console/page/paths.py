"""Which paths are the page's: files, and addresses within the page, which its own program distinguishes. Pure."""

ASSETS_PREFIX = "/assets/"
"""Files whose names have a digest of their content."""
_OTHERS = ("/api", "/auth", "/healthz", "/readyz", "/v1", "/webhooks")
"""What is not the page's, with everything under it; `/v1` is a client's that has taken this port for the gateway's."""


def is_page(path: str) -> bool:
    """Return whether a request for `path` is answered by the page and needs no credential."""
    return not any(path == other or path.startswith(f"{other}/") for other in _OTHERS)
