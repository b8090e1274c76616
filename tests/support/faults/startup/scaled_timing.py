"""Replace production's times in the programs of an appliance under test.

The variable is SHAPBOX_TEST_TIMING, with `NAME=SECONDS,…`.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

MODULE = "shared.timing"


class _Finder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Scaled(fullname, spec.origin)
        return spec


class _Scaled(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        pairs = (pair.split("=") for pair in os.environ["SHAPBOX_TEST_TIMING"].split(","))
        times = {name: float(seconds) for name, seconds in pairs}
        module.TIMING = replace(module.TIMING, **times)  # type: ignore[attr-defined]


sys.meta_path.insert(0, _Finder())
