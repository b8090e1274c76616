"""Every metric, alert and setting is in docs/, and docs/ names no other."""

from __future__ import annotations

import re

from shared.build import ROOT
from shared.metrics import METRICS, PREFIX, MetricKind
from shared.settings import SETTING_NAMES
from tests.support.shipped import DASHBOARD, PROMETHEUS, exported, names_in, rules

OPERATE, TROUBLESHOOT = ((ROOT / "docs" / name).read_text() for name in ("operate.md", "troubleshoot.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Files that are read for names of metrics, alerts and recorded series.
WATCHERS = [*PAGES, *sorted(PROMETHEUS.rglob("*.yml")), DASHBOARD]
ALERTS, RECORDED = set(rules("alert")), set(rules("record"))
#: How a histogram's parts end.
PARTS = ("_bucket", "_sum", "_count")
#: A variable's name, and the suffixes of files that may read it.
VARIABLE, CODE = re.compile(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b"), {".py", ".yaml", ".yml"}
#: The beginnings of variables that other programs read.
FOREIGN = ("AWS_", "AZURE_", "GOOGLE_", "RLIMIT_", "SSL_CERT_")


def section(heading: str, page: str = OPERATE) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return {name.partition("{")[0] for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_metric_series_and_alert_is_on_its_page_and_no_other() -> None:
    assert {PREFIX + name for name in first_column(section("Metrics"))} == exported()
    assert {name for name in first_column(section("Prometheus and Grafana")) if ":" in name} == RECORDED
    headings = re.findall(r"^### (.+)$", section("Alerts", TROUBLESHOOT), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


def test_no_page_rule_or_panel_names_a_metric_or_an_alert_that_there_is_not() -> None:
    histograms = [metric.name for metric in METRICS if metric.kind is MetricKind.HISTOGRAM]
    parts = {PREFIX + name + part for name in histograms for part in PARTS}
    for page in WATCHERS:
        text = page.read_text()
        assert names_in(text) <= exported() | parts | RECORDED, page
        assert set(re.findall(r"\bShapbox[A-Z]\w+", text)) <= ALERTS, page


def test_no_page_names_a_variable_that_nothing_reads() -> None:
    known = words_of_the_code() | set(SETTING_NAMES)
    for page in PAGES:
        named = {name for name in VARIABLE.findall(page.read_text()) if not name.startswith(FOREIGN)}
        assert {name.removesuffix("_FILE") for name in named} - {"NAME"} <= known, page


def words_of_the_code() -> set[str]:
    """Return every word in capitals that stands in the repository's code and configuration."""
    folders = (ROOT / name for name in ("client", "ops", "services", "shared", "tests"))
    files = [file for folder in folders for file in folder.rglob("*.*") if file.suffix in CODE]
    files += [ROOT / name for name in ("Makefile", "Dockerfile", "supervisord.conf")]
    return {word for file in files for word in VARIABLE.findall(file.read_text())}
