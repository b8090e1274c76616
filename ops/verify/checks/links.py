"""The links that clients follow, which are wrong where a proxy does not name its path."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx

from ops.verify.appliance import JOBS_KEYS, LOG, said
from ops.verify.report import FailedError
from ops.verify.visit import Visit
from shapbox import Response

#: The page's references to its files and to /docs; its links within the page begin with `#`.
REFERENCE = re.compile(r'(?:src|href)="([^"#]+)"')
REMEDY = (
    "Behind a proxy, set URL_PREFIX to the path of this address, or have the proxy send X-Forwarded-Prefix, -Proto and "
    "-Host from an address in TRUSTED_PROXIES: see docs/behind-a-proxy.md."
)


class Links:
    """Follows links as long as they lead below the address that is verified."""

    def __init__(self, visit: Visit) -> None:
        self._appliance = visit.appliance
        self._base = httpx.URL(f"{visit.appliance.url}/")
        self.followed = 0

    def path(self, name: str, link: str, page: str = "") -> str:
        """Return what follows the address in a page's link. Raises FailedError for another one."""
        whole, base = self._base.join(page).join(link), self._base
        place = (whole.scheme, whole.host, whole.port)
        if place != (base.scheme, base.host, base.port) or not whole.path.startswith(base.path):
            detail = f"{name} is {link!r}, which leads to {whole}, and not below {self._appliance.url}."
            raise FailedError(detail, REMEDY)
        self.followed += 1
        return "/" + whole.raw_path.decode().removeprefix(base.path)

    def follow(self, name: str, link: str, key: str | None = None) -> Response:
        """Return the answer at a link. Raises FailedError unless it is 200 and below the address."""
        path = self.path(name, link)
        answer = self._appliance.get(path, key)
        if answer.status != 200:
            raise FailedError(f"{name} is {link!r}, and GET {path} answers {said(answer)}.", LOG)
        return answer


def links(visit: Visit) -> str:
    """Follow the links of jobs, of their list, of the console's page and of /openapi.json."""
    found, key = Links(visit), visit.appliance.take(JOBS_KEYS)
    asked = visit.expect_of_sound(1)[0]
    accepted = [visit.jobs.offer(asked.model, asked.rows) for _ in range(2)]
    document = found.follow("Location", accepted[0].headers["location"], key).json()
    found.follow("links.self", document["links"]["self"], key)
    visit.jobs.wait(document["id"])
    found.follow("links.result", document["links"]["result"], key)
    following = visit.appliance.get("/v1/jobs?limit=1", key).json()["next"]
    found.follow("The list's `next`", following, key)
    for answer in accepted:
        visit.jobs.finish(str(answer.json()["id"]))
    (server,) = visit.appliance.get("/openapi.json").json()["servers"]
    found.path("The server in /openapi.json", server["url"].rstrip("/") + "/", "openapi.json")
    _console(visit, found)
    return f"{found.followed} links lead below the address"


def _console(visit: Visit, found: Links) -> None:
    """Follow the links of the console's page, also from the address without a slash at its end."""
    url = visit.appliance.url
    typed = visit.appliance.get("")
    if typed.status in {301, 302, 307, 308}:
        found.path("The console's Location", typed.headers["location"])
    elif urlsplit(url).path:
        detail = f"GET {url} without a slash at its end answers {typed.status}, and must redirect to {url}/."
        raise FailedError(detail, "Have the proxy redirect: see docs/behind-a-proxy.md.")
    for reference in REFERENCE.findall(visit.appliance.get("/").body.decode()):
        found.follow("A reference of the console's page", reference)
