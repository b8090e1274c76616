"""Checks REDIS_URL, and formats it without its password.

The client would misread some addresses (a `/` in a password, options in the query), and fail late or for another reason. No
message repeats any part of the address, since a badly encoded password may be anywhere in it.
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, urlsplit

SCHEMES = ("redis", "rediss", "unix")
#: Allowed query parameters.
ANYWHERE = frozenset({"db", "username", "password"})
#: Allowed for rediss:// as well: files of certificates and keys, and checks of the server's certificate.
TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
TLS = frozenset({*TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname", "ssl_password", "ssl_min_version"})
#: The values of two of them: 771 and 772 stand for TLS 1.2 and 1.3.
CHOICES = {"ssl_cert_reqs": ("required", "optional", "none"), "ssl_min_version": ("771", "772")}
#: The port if none is given.
DEFAULT_PORT = 6379

#: The remedy for an address that names no single primary.
ONE_PRIMARY = (
    "write redis://HOST:PORT/0 with one address that always leads to the primary, such as the primary endpoint of your "
    "provider, a Service of Kubernetes, or a proxy"
)
#: The remedy for a Cluster.
NO_CLUSTER = "all keys must be in one place: write redis://HOST:PORT/0 of a Redis whose cluster mode is off"

_ENCODE = (
    "percent-encode special characters in the password: / as %2F, # as %23, ? as %3F, @ as %40, and so on"
)


def check_redis_url(text: str) -> str:
    """Return a valid address. Raises ValueError, which says what to do."""
    scheme = text.partition("://")[0].lower()
    if "sentinel" in scheme:
        raise ValueError(f"Shapbox does not ask Sentinels for the primary: {ONE_PRIMARY}")
    if "cluster" in scheme:
        raise ValueError(f"Shapbox does not work on a Redis Cluster: {NO_CLUSTER}")
    try:
        parts = urlsplit(text)
    except ValueError:  # as with a bracket in a password
        parts = SplitResult("", "", "", "", "")
    if text.partition("://")[0] not in SCHEMES or not parts.scheme:
        raise ValueError(
            f"the address must start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and contain no "
            f"stray brackets: {_ENCODE}"
        )
    if parts.fragment or (parts.scheme != "unix" and "@" in parts.path + parts.query):
        raise ValueError(f"the address is cut off at a special character: {_ENCODE}")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("the address names no socket: write unix:///path/of/redis.sock")
    else:
        _check_place(parts)
    _check_query(parts)
    return text


def public_address(text: str) -> str:
    """Return a checked address without user, password and query."""
    parts = urlsplit(text)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or DEFAULT_PORT}{parts.path.rstrip('/')}"


def tls_files(text: str) -> dict[str, str]:
    """Return the files and folders for TLS of a checked address, by query parameter."""
    return {name: value for name, value in parse_qsl(urlsplit(text).query) if name in TLS_FILES}


def _check_place(parts: SplitResult) -> None:
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError(f"the address names several hosts: {ONE_PRIMARY}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the address has no valid port (1 to 65535) after the host: {_ENCODE}")
    if not parts.hostname:
        raise ValueError("the address names no host: write redis://HOST:PORT/0")
    database = parts.path.removeprefix("/")
    if database and not database.isdecimal():
        raise ValueError(f"only the database's number may follow the host and port: {_ENCODE}")


def _check_query(parts: SplitResult) -> None:
    allowed = ANYWHERE | TLS if parts.scheme == "rediss" else ANYWHERE
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.scheme.startswith("rediss") and TLS.intersection(query):
        raise ValueError("ssl_ parameters are for rediss:// only")
    if unknown := query.keys() - allowed:
        raise ValueError(
            f"the query has {len(unknown)} parameter{'s' * (len(unknown) > 1)} other than "
            f"{', '.join(sorted(allowed))}: remove the others, since Shapbox sets time limits and the like itself"
        )
    if not query.get("db", "0").isdecimal():
        raise ValueError("db must be a whole number")
    for name, choices in CHOICES.items():
        if query.get(name, choices[0]) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}")
