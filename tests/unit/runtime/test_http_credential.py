"""The headers in which a request may carry its credential."""

import pytest

from keyferry.runtime.http.credential import KEY_HEADERS, ConflictingCredentials, read_credential

AUTHORIZATION, X_API_KEY, API_KEY = b"authorization", b"x-api-key", b"api-key"
Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ([], None),
        ([(AUTHORIZATION, b"")], None),
        ([(X_API_KEY, b" ")], None),
        ([(AUTHORIZATION, b"Bearer kf")], "Bearer kf"),
        ([(AUTHORIZATION, b"Basic a2Y=")], "Basic a2Y="),
        ([(X_API_KEY, b"kf")], "Bearer kf"),
        ([(API_KEY, b"kf")], "Bearer kf"),
        ([(b"cookie", b"kf"), (b"x-goog-api-key", b"kf")], None),
    ],
)
def test_one_credential(headers: Headers, credential: str | None) -> None:
    assert read_credential({"headers": headers}, KEY_HEADERS) == credential


@pytest.mark.parametrize(
    "headers",
    [
        [(AUTHORIZATION, b"Bearer kf"), (X_API_KEY, b"kf")],
        [(AUTHORIZATION, b"bearer  kf "), (X_API_KEY, b"kf "), (API_KEY, b"kf")],
        [(AUTHORIZATION, b"Bearer kf"), (AUTHORIZATION, b"Bearer kf")],
        [(AUTHORIZATION, b"Bearer kf"), (X_API_KEY, b"")],
    ],
)
def test_the_same_credential_twice(headers: Headers) -> None:
    credential = read_credential({"headers": headers}, KEY_HEADERS)
    assert credential is not None
    assert credential.split() in (["Bearer", "kf"], ["bearer", "kf"])


@pytest.mark.parametrize(
    "headers",
    [
        [(AUTHORIZATION, b"Bearer kf_1"), (X_API_KEY, b"kf_2")],
        [(AUTHORIZATION, b"Bearer kf_1"), (API_KEY, b"kf_2")],
        [(X_API_KEY, b"kf_1"), (API_KEY, b"kf_2")],
        [(X_API_KEY, b"kf_1"), (X_API_KEY, b"kf_2")],
        [(AUTHORIZATION, b"Bearer kf_1"), (AUTHORIZATION, b"Bearer kf_2")],
        [(AUTHORIZATION, b"Basic b25l"), (X_API_KEY, b"kf_1")],
    ],
)
def test_different_credentials_are_refused_without_repeating_them(headers: Headers) -> None:
    with pytest.raises(ConflictingCredentials, match="different credentials") as raised:
        read_credential({"headers": headers}, KEY_HEADERS)
    assert "kf_" not in str(raised.value)


def test_only_the_given_headers_carry_a_credential() -> None:
    assert read_credential({"headers": [(X_API_KEY, b"kf_1")]}, ()) is None
    assert read_credential({"headers": [(AUTHORIZATION, b"Bearer kf_1"), (X_API_KEY, b"kf_2")]}, ()) == "Bearer kf_1"
    with pytest.raises(ConflictingCredentials, match="in its Authorization headers: send one of them"):
        read_credential({"headers": [(AUTHORIZATION, b"Bearer kf_1"), (AUTHORIZATION, b"Bearer kf_2")]}, ())
