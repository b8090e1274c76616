"""All checks, in the order in which they are shown. None keeps another from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.render.api import RenderApi
from ops.render.blueprint import Blueprint, read_blueprint
from ops.render.preflight.blueprint_file import check_blueprint
from ops.render.preflight.finding import Finding
from ops.render.preflight.image_trial import check_image
from ops.render.preflight.model_files import check_fallback, check_models
from ops.render.preflight.options import PreflightOptions
from ops.render.preflight.repository import Repository, check_pushed, check_tree
from shared.build import ROOT

#: The blueprint of one container; further ones lie in ops/render.
BLUEPRINT = "render.yaml"


@dataclass(frozen=True, slots=True)
class Preflight:
    """The checks, and the helpers that they need."""

    options: PreflightOptions
    api: RenderApi | None = None
    root: Path = ROOT

    @property
    def blueprint(self) -> Blueprint:
        """The blueprint as it is now."""
        return read_blueprint(self.root / BLUEPRINT, self.root)

    def findings(self) -> Iterator[Finding]:
        """Make every check, one after the other."""
        for name, check in self._checks():
            try:
                yield check()
            except Exception as fault:  # noqa: BLE001  # after any fault, the other checks are worth knowing
                yield Finding.failed(
                    name, f"{type(fault).__name__}: {fault}", "This is a fault of the check itself."
                )

    def _checks(self) -> list[tuple[str, Callable[[], Finding]]]:
        repository, blueprint = Repository(self.root), self.blueprint
        allowed = self.options.fallback_allowed
        return [
            ("tree", lambda: check_tree(repository)),
            ("pushed", lambda: check_pushed(repository)),
            ("models", lambda: check_models(self.root / "models", fallback_allowed=allowed)),
            ("no placeholders", lambda: check_fallback(blueprint, fallback_allowed=allowed)),
            *[("blueprint", self._blueprint(path)) for path in self._blueprint_paths()],
            ("image", self._image(blueprint)),
        ]

    def _blueprint_paths(self) -> list[Path]:
        return [self.root / BLUEPRINT, *sorted((self.root / "ops" / "render").glob("*.yaml"))]

    def _blueprint(self, path: Path) -> Callable[[], Finding]:
        return lambda: check_blueprint(read_blueprint(path, self.root), self.api, self.options.service)

    def _image(self, blueprint: Blueprint) -> Callable[[], Finding]:
        if not self.options.image:
            return lambda: Finding.skipped("image", "IMAGE=no was given: neither built nor tried")
        return lambda: check_image(blueprint, self.root, self.options.image_seconds)
