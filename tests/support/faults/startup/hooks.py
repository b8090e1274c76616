"""Changes modules of the appliance as they are imported.

No line of production code asks whether it is tested.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

type Change = Callable[[ModuleType], None]

_changes: dict[str, list[Change]] = {}


def on_import(name: str, change: Change) -> None:
    """Have a module changed right after it was executed."""
    _changes.setdefault(name, []).append(change)


class _Changed(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for change in _changes[module.__name__]:
            change(module)


class _Finder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Changed(fullname, spec.origin)
        return spec


sys.meta_path.insert(0, _Finder())
