"""The models of the commit, and whether placeholders may replace them."""

from __future__ import annotations

from pathlib import Path

from ops.models.verification import verify_models
from ops.render.blueprint import Blueprint
from ops.render.preflight.finding import Finding
from shared.models.version import version_folders

#: The setting that allows placeholders.
ALLOWS = "ALLOW_FALLBACK_MODEL"


def check_models(models_dir: Path, *, fallback_allowed: bool) -> Finding:
    """Check every model as boot will, and try it."""
    faults = verify_models(models_dir)
    count = len(list(version_folders(models_dir)))
    if not faults:
        return Finding.passed("models", f"{count} verified: files, hashes, a prediction of each")
    seen = "\n".join(f"{fault.model}: {fault.what}" for fault in faults)
    if fallback_allowed:
        return Finding.passed("models", f"placeholders will answer, as {ALLOWS} allows\n{seen}")
    return Finding.failed("models", seen, "\n".join(dict.fromkeys(fault.remedy for fault in faults)))


def check_fallback(blueprint: Blueprint, *, fallback_allowed: bool) -> Finding:
    """Check that no service starts with placeholders unless that is allowed here."""
    allowing = [
        name
        for name, service in blueprint.services.items()
        for item in service.get("envVars") or []
        if isinstance(item, dict)
        and item.get("key") == ALLOWS
        and str(item.get("value")).lower() in {"1", "true", "yes", "on"}
    ]
    if allowing and not fallback_allowed:
        return Finding.failed(
            "no placeholders",
            f"{', '.join(allowing)} would start with placeholders for broken models ({ALLOWS})",
            f"Take {ALLOWS} out of {blueprint.path.name}, or say that you want it: {ALLOWS}=true.",
        )
    return Finding.passed(
        "no placeholders", "allowed here" if fallback_allowed else "a broken model is refused at boot"
    )
