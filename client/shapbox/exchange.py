"""Requests and responses as values, and their way into and out of httpx."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import httpx

from shapbox.errors import CertificateError, LinkError, NoAnswerError

VERSION = "0.2.0"
#: The appliance's address if neither the argument nor SHAPBOX_URL names one: that of `make run`.
DEFAULT_URL = "http://127.0.0.1:10000"
#: Hosts that are never reached through a proxy.
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

#: Is told how much is done, of how much; 0 if the total is not known.
Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Body:
    """A request's body. `open` gives its chunks from the start, each time that it is sent."""

    content_type: str | None
    open: Callable[[], Iterable[bytes]]
    #: Bytes, if they are known in advance; otherwise the body is sent in chunks.
    length: int | None = None
    encoding: str | None = None


@dataclass
class Received:
    """The bytes of a successful answer that have arrived, over all attempts.

    Without an entity tag the next attempt starts anew.
    """

    body: BinaryIO = field(default_factory=io.BytesIO)
    tag: str | None = None


@dataclass(frozen=True)
class Request:
    """A request to an appliance. A successful answer's body goes to `sink`, if there is one."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    seconds: float = 60.0
    sink: BinaryIO | None = None
    show: Show | None = None
    received: Received = field(default_factory=Received)


@dataclass(frozen=True)
class Response:
    """A response, read to its end. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's JSON; raises ValueError if it is something else."""
        return json.loads(self.body)


class Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body as httpx sends it, blocking or not."""

    def __init__(self, body: Body | None, show: Show | None) -> None:
        self._body = body
        self._show = show

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        sent = 0
        for chunk in self._body.open() if self._body else ():
            yield chunk
            sent += len(chunk)
            if self._show and self._body:
                self._show(sent, self._body.length or 0)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks; reading a file's next chunk does not wait for anything."""
        for chunk in self:
            yield chunk


class Download:
    """Takes the chunks of a response's body."""

    def __init__(self, request: Request, answer: httpx.Response) -> None:
        """Take the head. Raises httpx.RemoteProtocolError for another part than the requested one."""
        self._answer, received = answer, request.received
        self._before = 0
        self._sink: BinaryIO = io.BytesIO()
        if answer.status_code == 200:
            self._sink = request.sink or received.body
            self._sink.seek(0)
            self._sink.truncate()  # an earlier attempt may have written to it
            received.body, received.tag = self._sink, _strong_tag(answer)
        elif answer.status_code == 206 and received.tag is not None:
            self._sink, self._before = received.body, received.body.tell()
            if not answer.headers.get("content-range", "").startswith(f"bytes {self._before}-"):
                received.tag = None
                raise httpx.RemoteProtocolError("the response is another part than the requested one")
        elif answer.status_code == 416:
            received.tag = None
        self._show = request.show if self._sink is request.sink else None

    def write(self, chunk: bytes) -> None:
        """Take the next chunk."""
        self._sink.write(chunk)
        if self._show:
            length = int(self._answer.headers.get("content-length", 0))
            self._show(self._sink.tell(), length and self._before + length)

    def response(self) -> Response:
        """Return the response; the body is empty if it went to the request's sink."""
        headers = {name.lower(): value for name, value in self._answer.headers.items()}
        body = self._sink.getvalue() if isinstance(self._sink, io.BytesIO) else b""
        return Response(self._answer.status_code, headers, body)


def _strong_tag(answer: httpx.Response) -> str | None:
    """Return the entity tag of an answer whose rest can be requested after a break."""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') and answer.headers.get("accept-ranges") == "bytes" else None


class Address:
    """Where an appliance is, and the key to it."""

    def __init__(self, url: str | None, key: str | None) -> None:
        self.url = (url or os.environ.get("SHAPBOX_URL") or DEFAULT_URL).rstrip("/")
        parts = urlsplit(self.url)
        if parts.username is not None:
            raise ValueError(
                "The address has a user and a password. Leave them out, and give the key as `key`."
            )
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{self.url!r} is not an address: it begins with http:// or https://")
        self._scheme, self._host = parts.scheme, parts.hostname
        key = (os.environ.get("SHAPBOX_API_KEY", "") if key is None else key).strip()
        if not (key.isascii() and key.isprintable()):  # the HTTP library would show it in its error
            raise ValueError("The key has line breaks or other characters that no key has.")
        self._headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"shapbox-python/{VERSION}",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }

    @property
    def http_options(self) -> dict[str, Any]:
        """The options of httpx's clients."""
        options: dict[str, Any] = {"verify": False, "trust_env": self._host not in _LOOPBACK}
        # Otherwise there is nothing to verify, and loading certificates takes 30 ms.
        if self._scheme == "https":
            options["verify"] = httpx.create_ssl_context()
            options["verify"].load_default_certs()  # the system's, with those of private authorities
        return options

    def own_path(self, link: str) -> str:
        """Return what follows this address in a link. Raises LinkError for another address."""
        whole = urljoin(f"{self.url}/", link)
        if not whole.startswith(f"{self.url}/"):
            raise LinkError(
                f"The appliance's link {link} leads to {whole}, and not below {self.url}. Behind a proxy, the appliance "
                "needs URL_PREFIX, or the proxy's X-Forwarded-Prefix."
            )
        return whole.removeprefix(self.url)

    def prepare(self, request: Request) -> httpx.Request:
        """Return the request as httpx sends it."""
        headers, body = httpx.Headers(self._headers), request.body
        if body:
            known = {"Type": body.content_type, "Encoding": body.encoding, "Length": body.length}
            headers.update(
                {f"Content-{name}": str(value) for name, value in known.items() if value is not None}
            )
        headers.update(dict(request.headers))
        received = request.received
        if received.tag is not None:
            headers.update({"Range": f"bytes={received.body.tell()}-", "If-Range": received.tag})
        upload = Upload(body, None if request.sink else request.show)
        timeout = {"timeout": httpx.Timeout(request.seconds).as_dict()}
        prepared = httpx.Request(
            request.method,
            self.url + request.path,
            headers=headers,
            content=upload if body else None,
            extensions=timeout,
        )
        prepared.stream = upload  # for both clients: what httpx has made of it is for the blocking one
        return prepared

    def no_answer(self, request: Request, fault: httpx.TransportError) -> NoAnswerError:
        """Return the error for a request without an answer."""
        reason = str(fault) or type(fault).__name__
        said = f"{request.method} {self.url}{request.path} was not answered: {reason}"
        if "CERTIFICATE_VERIFY_FAILED" not in reason:
            return NoAnswerError(said)
        return CertificateError(
            f"{said}. Set SSL_CERT_FILE to the certificate of the authority that signed it."
        )
