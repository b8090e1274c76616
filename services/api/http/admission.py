"""What a body must pass before it is taken in: a key, a size, and room on the disk.

The server writes bodies to the disk before the application sees the request. Without this, anybody could
fill the disk without having a key.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from services.api.capacity.disk import RESERVE_BYTES
from services.api.http.authentication import Access, KeyRing
from shared.errors import BodyTooLargeError, ForbiddenError, ShapboxError, StorageFullError
from shared.settings import Settings

#: Bytes of a body that is taken in from anybody: the application then says what is wrong with the request.
SMALL_BODY = 64 * 1024


class Intake:
    """Decides on bodies by the head of their requests."""

    def __init__(self, settings: Settings) -> None:
        self._ring = KeyRing.of(settings)
        self._folder = settings.tmp_dir
        self._max_mb = settings.max_body_mb

    @property
    def max_bytes(self) -> int:
        """How many bytes a body may have, as it is sent."""
        return self._max_mb * 2**20

    def too_large(self) -> BodyTooLargeError:
        """Return the error for a larger one."""
        return BodyTooLargeError(
            f"The body is larger than {self._max_mb} MB (MAX_BODY_MB): send the rows as several jobs."
        )

    def refusal(self, headers: Mapping[str, str], length: int | None) -> ShapboxError | None:
        """Return why a body is not taken in; `length` is None if it is not known beforehand.

        `headers` are named as the server names them: upper case, with underscores.
        """
        if length is not None and length <= SMALL_BODY:
            return None
        try:
            self._check(headers, length or 0)
        except ShapboxError as error:
            return error
        return None

    def _check(self, headers: Mapping[str, str], length: int) -> None:
        if Access.JOBS not in self._ring.rights(headers.get("AUTHORIZATION")):
            raise ForbiddenError("This key does not open anything that takes a body.")
        if length > self.max_bytes:
            raise self.too_large()
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return
        if free < length + RESERVE_BYTES:
            raise StorageFullError(
                f"The disk has {free / 2**20:.0f} MB left, too little for this body. Delete jobs, or enlarge it."
            )
