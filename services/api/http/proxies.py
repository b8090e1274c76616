"""Proxies in front: they tell who the client is, and the address that it uses.

Their headers are read only on connections from TRUSTED_PROXIES. A value that is not valid counts as missing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from shared.setting_values import url_prefix
from shared.settings import Settings

#: Where the WSGI environment holds the client's scheme and host.
ORIGIN = "shapbox.origin"
#: Entries of X-Forwarded-For that are read, from its end.
MOST_HOPS = 16

_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Outside:
    """A request as its client made it, beyond all trusted proxies."""

    #: The client's address.
    client: str
    #: The path before the api's own paths, such as /shap.
    prefix: str = ""
    #: Scheme and host, such as https://example.com; empty if no trusted proxy tells them.
    origin: str = ""

    def own_path(self, path: str) -> str:
        """Return a path without the prefix, if it has it; empty for the prefix alone."""
        whole = "/" + path.lstrip("/")
        if self.prefix and f"{whole}/".startswith(f"{self.prefix}/"):
            return whole.removeprefix(self.prefix)
        return path


class Proxies:
    """TRUSTED_PROXIES, and what their headers say."""

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_proxies
        self._prefix = settings.url_prefix

    def trusts(self, address: IPv4Address | IPv6Address) -> bool:
        """Return whether an address is one of TRUSTED_PROXIES."""
        return any(address in network for network in self._networks)

    def outside(self, peer: str, headers: Mapping[str, str]) -> Outside:
        """Return a request as its client made it; the connection comes from `peer`."""
        address = plain_address(peer)
        if not self.trusts(address):
            return Outside(str(address), self._prefix)
        client = self._client(address, headers.get("X_FORWARDED_FOR", ""))
        return Outside(str(client), self._prefix or _prefix_in(headers), _origin_in(headers))

    def _client(self, peer: IPv4Address | IPv6Address, forwarded_for: str) -> IPv4Address | IPv6Address:
        """Return the last address that is no trusted proxy: only those after it are to be believed."""
        client = peer
        for hop in reversed(forwarded_for.rsplit(",", MOST_HOPS)[-MOST_HOPS:]):
            try:
                client = _hop_address(hop.strip())
            except ValueError:
                break
            if not self.trusts(client):
                break
        return client


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """Return an address; one of IPv4 also if an IPv6 socket shows it. Raises ValueError."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def _hop_address(hop: str) -> IPv4Address | IPv6Address:
    """Return the address of an entry, which may have a port."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    if "%" in hop:  # what follows may be anything
        raise ValueError(hop)
    return plain_address(hop)


def _last(headers: Mapping[str, str], name: str) -> str:
    """Return what the nearest proxy said, if several did."""
    return headers.get(name, "").rpartition(",")[2].strip()


def _prefix_in(headers: Mapping[str, str]) -> str:
    if "X_FORWARDED_PREFIX" in headers:
        with contextlib.suppress(ValueError):
            return url_prefix(_last(headers, "X_FORWARDED_PREFIX"))
    return ""


def _origin_in(headers: Mapping[str, str]) -> str:
    scheme = _last(headers, "X_FORWARDED_PROTO").lower()
    if scheme not in {"http", "https"}:
        return ""
    hosts = (_last(headers, "X_FORWARDED_HOST"), headers.get("HOST", ""))
    host = next((host for host in hosts if _HOST.fullmatch(host)), "")
    return host and f"{scheme}://{host}"
