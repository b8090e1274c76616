"""How a check ends when it does not pass, and what a call that was not answered means."""

from __future__ import annotations

import http.client
import socket
import ssl

#: Errors of a call that is not answered.
NO_ANSWER = (OSError, http.client.HTTPException)


class FailedError(Exception):
    """The check has failed: why, what to do about it, and what was measured."""

    def __init__(self, detail: str, remedy: str, measured: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.measured = measured


class NotCheckedError(Exception):
    """The check was not made: why, and what it takes to have it made."""

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


def describe(fault: BaseException) -> str:
    """Say in plain words why a call was not answered."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {fault.verify_message}"
    plain = next((words for kind, words in _IN_PLAIN_WORDS.items() if isinstance(fault, kind)), None)
    return plain or str(fault) or type(fault).__name__


_IN_PLAIN_WORDS: dict[type[BaseException], str] = {
    ssl.SSLError: "it does not speak TLS as it should",
    socket.gaierror: "its name is not known (DNS)",
    ConnectionRefusedError: "nothing listens there (connection refused)",
    TimeoutError: "no answer in time",
    http.client.RemoteDisconnected: "the connection was closed without an answer",
    ConnectionResetError: "the connection was closed without an answer",
}
