"""Takes memory in the process that imports it, and keeps it."""

from __future__ import annotations

import os

#: All pages are touched.
HELD = bytearray(b"x") * (int(os.environ["SHAPBOX_TEST_HOG_MB"]) << 20)
