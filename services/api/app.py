"""The application and its server: the resource of each address."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.media
import orjson
from falcon.routing import CompiledRouter

from services.api.components import Components
from services.api.http import problems
from services.api.http.access_log import AccessLog, RouteNote
from services.api.http.admission import Admission
from services.api.http.authentication import KeyRing
from services.api.http.server import Server
from services.api.resources.appliance import ApplianceResource
from services.api.resources.console import ConsoleResource
from services.api.resources.documentation import DocsResource, OpenApiResource
from services.api.resources.explain import ExplainResource
from services.api.resources.health import HealthResource, ReadyResource
from services.api.resources.jobs import (
    JobResource,
    JobsResource,
    PlotResource,
    ResultResource,
    SummaryResource,
)
from services.api.resources.metrics import MetricsResource
from services.api.resources.models import ExamplesResource, ModelResource, ModelsResource
from services.api.resources.version import VersionResource
from services.api.resources.workers import RecycleResource, WorkersResource


def routes(components: Components) -> dict[str, Any]:
    """Return the resource of every URI template."""
    console = ConsoleResource()
    resources: dict[str, Any] = {
        "/v1/jobs": JobsResource(components),
        "/v1/jobs/{job_id}": JobResource(components),
        "/v1/jobs/{job_id}/result": ResultResource(components),
        "/v1/jobs/{job_id}/summary": SummaryResource(components),
        "/v1/jobs/{job_id}/plots/{kind}": PlotResource(components),
        "/v1/explain": ExplainResource(components),
        "/v1/models": ModelsResource(components),
        "/v1/models/{name}": ModelResource(components),
        "/v1/models/{name}/examples": ExamplesResource(components),
        "/v1/appliance": ApplianceResource(components),
        "/v1/workers": WorkersResource(components),
        "/v1/workers/recycle": RecycleResource(components),
        "/healthz": HealthResource(components),
        "/readyz": ReadyResource(components),
        "/metrics": MetricsResource(components),
        "/version": VersionResource(components),
        "/openapi.json": OpenApiResource(),
        "/docs": DocsResource(),
        "/": console,
        "/console/{file}": console,
    }
    for resource in resources.values():
        if hasattr(resource, "on_get"):
            resource.on_head = resource.on_get  # the server sends no body
    return resources


def create_app(components: Components, router: CompiledRouter | None = None) -> AccessLog:
    """Build the WSGI application. Its background threads are not started by this."""
    middleware = [KeyRing(components.settings), RouteNote()]
    app = falcon.App(middleware=middleware, router=router)
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = falcon.media.JSONHandler(dumps=orjson.dumps)
    problems.install(app)
    for template, resource in routes(components).items():
        app.add_route(template, resource)
    return AccessLog(app, components.counters)


def create_server(components: Components) -> Server:
    """Build the application, and the server that listens for it from now on."""
    router = CompiledRouter()
    app = create_app(components, router)
    admission = Admission(components.settings, components.upload_disk, router.find)
    return Server(app, admission, components.settings, components.counters)
