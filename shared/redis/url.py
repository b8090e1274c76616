"""REDIS_URL: what may stand in it, and how it is spoken of without its password.

Checked before anything connects: what the client would read otherwise than it was meant (a `/` in a password, a
setting of its own in the query) would show itself late, or as something else. No message repeats any of the address,
since a badly written password may stand anywhere in it.
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, urlsplit

SCHEMES = ("redis", "rediss", "unix")
#: What the query may hold, whatever the scheme.
ANYWHERE = frozenset({"db", "username", "password"})
#: The same with rediss:// only: files of certificates and keys, and what is checked of the server's.
TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
TLS = frozenset({*TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname", "ssl_password", "ssl_min_version"})
#: What ssl_cert_reqs may be.
TLS_VERSIONS = ("771", "772")
CERT_REQS = ("required", "optional", "none")
#: The port where none is given.
DEFAULT_PORT = 6379

_ENCODE = "percent-encode what is special in the password, such as / as %2F, # as %23, ? as %3F and @ as %40"


def check_redis_url(text: str) -> str:
    """Return the address if it can be used; raises ValueError that says what to do."""
    if urlsplit_or_none(text) is None or text.partition("://")[0] not in SCHEMES:
        raise ValueError(
            f"the address must start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and hold no "
            f"stray brackets: {_ENCODE}"
        )
    parts = urlsplit(text)
    if parts.fragment or (parts.scheme != "unix" and "@" in parts.path + parts.query):
        raise ValueError(f"the address breaks off at a special character: {_ENCODE}")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("the address names no socket: write unix:///path/of/redis.sock")
    else:
        _check_place(parts)
    _check_query(parts)
    return text


def public_address(text: str) -> str:
    """Return a checked address as it may be shown: without user, password and query."""
    parts = urlsplit(text)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or DEFAULT_PORT}{parts.path.rstrip('/')}"


def tls_files(text: str) -> dict[str, str]:
    """Return the files and folders that a checked address names for TLS, by their names in the query."""
    return {name: value for name, value in parse_qsl(urlsplit(text).query) if name in TLS_FILES}


def urlsplit_or_none(text: str) -> SplitResult | None:
    """Return the address's parts; None if it has none, as with a bracket in a password."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _check_place(parts: SplitResult) -> None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the address has no port from 1 to 65535 where one should be: {_ENCODE}")
    if not parts.hostname:
        raise ValueError("the address names no host: write redis://HOST:PORT/0")
    database = parts.path.removeprefix("/")
    if database and not database.isdecimal():
        raise ValueError(f"after host and port comes the database's number, or nothing: {_ENCODE}")


def _check_query(parts: SplitResult) -> None:
    allowed = ANYWHERE | TLS if parts.scheme == "rediss" else ANYWHERE
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.scheme.startswith("rediss") and TLS.intersection(query):
        raise ValueError("the query holds ssl_ settings, which count with rediss:// only")
    if unknown := query.keys() - allowed:
        raise ValueError(
            f"the query holds {len(unknown)} setting{'s' * (len(unknown) > 1)} other than "
            f"{', '.join(sorted(allowed))}: remove what else there is, since time limits and the like are Shapbox's own"
        )
    if query.get("ssl_cert_reqs", "required") not in CERT_REQS:
        raise ValueError(f"ssl_cert_reqs must be one of {', '.join(CERT_REQS)}")
    if not query.get("db", "0").isdecimal():
        raise ValueError("db must be a whole number")
    if query.get("ssl_min_version", TLS_VERSIONS[0]) not in TLS_VERSIONS:
        raise ValueError(f"ssl_min_version must be one of {', '.join(TLS_VERSIONS)} (TLS 1.2, TLS 1.3)")
