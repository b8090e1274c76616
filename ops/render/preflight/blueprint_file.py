"""The blueprint: by our own rules always, and by Render's where a key is given."""

from __future__ import annotations

from ops.render.api import RenderApi
from ops.render.blueprint import Blueprint
from ops.render.errors import RenderError
from ops.render.preflight.finding import Finding


def check_blueprint(blueprint: Blueprint, api: RenderApi | None = None, service: str = "") -> Finding:
    """Check a blueprint; Render checks it as well if `service` names one of the workspace."""
    name = blueprint.path.name
    faults = [str(fault) for fault in blueprint.faults]
    remedies = [fault.remedy for fault in blueprint.faults]
    how = "by its rules; Render was not asked, which takes a RENDER_API_KEY"
    if api is not None:
        try:
            found, how = _ask_render(blueprint, api, service)
        except RenderError as trouble:
            found, how = [], f"by its rules; Render could not be asked: {trouble}"
        faults += [f"Render: {fault}" for fault in found]
        remedies += ["Mend what Render refuses."] if found else []
    if not faults:
        return Finding.passed("blueprint", f"{name} is valid {how}")
    return Finding.failed("blueprint", "\n".join(faults), "\n".join(dict.fromkeys(remedies)))


def _ask_render(blueprint: Blueprint, api: RenderApi, service: str) -> tuple[list[str], str]:
    """Have Render look at it; returns what it finds, and how that was come by."""
    found = api.find_service(service) if service else None
    workspaces = [found.owner_id] if found else api.workspaces()
    if len(workspaces) != 1:
        return [], f"by its rules; the key sees {len(workspaces)} workspaces: name one by SERVICE"
    try:
        content = blueprint.path.read_bytes()
    except OSError:
        return [], "by its rules"
    return api.blueprint_faults(workspaces[0], blueprint.path.name, content), "by its rules and by Render's"
