"""Headers of every answer, so that no browser makes more of it than data.

Servers add them to what applications answer, to preflight requests, and to what they refuse themselves. Pure.
"""

SECURITY_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)
