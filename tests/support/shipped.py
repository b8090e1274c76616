"""The content of ops/prometheus and ops/grafana: rules, cases, and expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from shared.build import ROOT
from shared.metrics import METRICS, PREFIX

PROMETHEUS, DASHBOARD = ROOT / "ops" / "prometheus", ROOT / "ops" / "grafana" / "shapbox.json"
#: The scrape configurations.
CONFIGURATIONS = ("local.yml", "render-private.yml", "render-public.yml")
#: A name of ours in an expression: a metric, a part of a histogram, or a recording rule.
NAME = re.compile(r"\b(?:[a-z_]+:)?shapbox_[a-z_]+(?::[a-z0-9_]+)?\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """A query of the dashboard, and what it belongs to."""

    title: str
    text: str


def groups() -> list[dict[str, Any]]:
    """Return all groups of rules."""
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return all rules of a kind, `alert` or `record`, by name."""
    return {rule[kind]: rule for group in groups() for rule in group["rules"] if kind in rule}


def cases() -> list[dict[str, Any]]:
    """Return what `promtool test rules` is to check of the alerts."""
    files = sorted((PROMETHEUS / "tests").glob("*.yml"))
    tests = [test for file in files for test in yaml.safe_load(file.read_text())["tests"]]
    return [case for test in tests for case in test["alert_rule_test"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return dict(json.loads(DASHBOARD.read_text()))


def panel_expressions() -> Iterator[Expression]:
    """Return every query of every panel."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield Expression(panel["title"], target["expr"])


def annotation_expressions() -> Iterator[Expression]:
    """Return every query of the annotations."""
    for annotation in dashboard()["annotations"]["list"]:
        yield Expression(annotation["name"], annotation["target"]["expr"])


def names_in(text: str) -> set[str]:
    """Return all names of ours that a text holds."""
    return set(NAME.findall(text))


def exported() -> set[str]:
    """Return every metric that the code exports; a test compares it with a scrape."""
    return {PREFIX + metric.name for metric in METRICS}
