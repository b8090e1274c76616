"""Takes values out of an environment, and collects what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Words that switch something off, and on.
OFF, ON = frozenset({"no", "0", "false", "off"}), frozenset({"yes", "1", "true", "on"})


class OptionsError(Exception):
    """The environment does not say what to do. The message lists every fault with its remedy."""


class Reading:
    """One environment, read once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.faults: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Return a value, or the default where it is empty or not there."""
        return self._environment.get(name, "").strip() or default

    def secret(self, name: str) -> str | None:
        """Return a secret, by NAME or from the file that NAME_FILE names."""
        file = self.text(f"{name}_FILE")
        if self.text(name) or not file:
            return self.text(name) or None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as fault:
            self.faults.append(f"{name}_FILE: {file} cannot be read ({type(fault).__name__})")
            return None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return whether something is switched on."""
        word = self.text(name).lower()
        if word and word not in OFF | ON:
            self.faults.append(f"{name} is {word!r}: write {name}=yes or {name}=no")
        return (word in ON) if word in OFF | ON else default

    def number(self, name: str, default: float) -> float:
        """Return a number from 0 on."""
        try:
            number = float(self.text(name) or default)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e6:
            self.faults.append(f"{name} is no number from 0 on")
            return default
        return number
