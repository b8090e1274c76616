"""The application: which address is answered by what."""

from __future__ import annotations

from typing import Any

import falcon

from services.api.components import Parts
from services.api.http import problems
from services.api.http.access_log import Envelope, RouteNote
from services.api.http.authentication import Authentication
from services.api.resources.appliance import ApplianceResource
from services.api.resources.console import ConsoleFileResource, ConsoleResource
from services.api.resources.console_files import ConsoleFiles
from services.api.resources.documentation import DocsResource, OpenApiResource
from services.api.resources.examples import ExamplesResource
from services.api.resources.explain import ExplainResource
from services.api.resources.health import HealthResource, ReadyResource
from services.api.resources.job import JobResource
from services.api.resources.jobs import JobsResource
from services.api.resources.metrics import MetricsResource
from services.api.resources.models import ModelResource, ModelsResource
from services.api.resources.plots import PlotResource
from services.api.resources.result import ResultResource
from services.api.resources.summary import SummaryResource
from services.api.resources.version import VersionResource
from services.api.resources.workers import RecycleResource, WorkersResource


def routes(parts: Parts) -> dict[str, Any]:
    """Return the resource of every URI template."""
    files = ConsoleFiles.load()
    return {
        "/v1/jobs": JobsResource(parts),
        "/v1/jobs/{job_id}": JobResource(parts),
        "/v1/jobs/{job_id}/result": ResultResource(parts),
        "/v1/jobs/{job_id}/summary": SummaryResource(parts),
        "/v1/jobs/{job_id}/plots/{kind}": PlotResource(parts),
        "/v1/explain": ExplainResource(parts),
        "/v1/models": ModelsResource(parts),
        "/v1/models/{name}": ModelResource(parts),
        "/v1/models/{name}/examples": ExamplesResource(parts),
        "/v1/appliance": ApplianceResource(parts),
        "/v1/workers": WorkersResource(parts),
        "/v1/workers/recycle": RecycleResource(parts),
        "/healthz": HealthResource(parts),
        "/readyz": ReadyResource(parts),
        "/metrics": MetricsResource(parts),
        "/version": VersionResource(parts),
        "/openapi.json": OpenApiResource(),
        "/docs": DocsResource(),
        "/": ConsoleResource(files),
        "/console/{file}": ConsoleFileResource(files),
    }


def create_app(parts: Parts) -> Envelope:
    """Build the WSGI application. Its background threads are not started by this."""
    app = falcon.App(middleware=[Authentication(parts.settings), RouteNote()])
    problems.install(app)
    for template, resource in routes(parts).items():
        app.add_route(template, resource)
    return Envelope(app, parts.counters)
