"""The shipped rules and scrape configurations, as promtool and the documentation see them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from services.api.resources.explain import DEFAULT_WAIT
from shared.build import ROOT
from shared.disk import RESERVE_BYTES, RESERVE_INODES
from shared.redis.capacity import ACCEPT_SHARE
from shared.settings import Settings
from tests.support.shipped import CONFIGURATIONS, PROMETHEUS, cases, names_in, rules
from tests.watch.programs import promtool

ALERTS, RECORDED = rules("alert"), rules("record")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_promtool_finds_no_fault_in_a_scrape_configuration(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (folder / "metrics-token").write_text("its owner puts it there")
    assert "2 rule files found" in promtool("check", "config", str(folder / name))


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint-fatal", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml"))))


@pytest.mark.parametrize("path", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_where_they_must_and_not_where_they_must_not(path: Path) -> None:
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    fired = {bool(case["exp_alerts"]) for case in cases() if case["alertname"] == name}
    assert fired == {True, False}


def test_no_case_is_about_an_alert_that_there_is_not() -> None:
    assert {case["alertname"] for case in cases()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_its_runbook_is_there(name: str) -> None:
    notes, labels = ALERTS[name]["annotations"], ALERTS[name]["labels"]
    assert labels["severity"] in {"critical", "warning"}
    assert notes["summary"][0].isupper()
    assert notes["description"].endswith(".")
    page, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^### (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings if heading == name}


def test_what_is_recorded_is_named_by_level_metric_and_operation_and_used() -> None:
    used = " ".join(rule["expr"] for rule in (*ALERTS.values(), *RECORDED.values()))
    used += (ROOT / "ops" / "grafana" / "shapbox.json").read_text()
    for name in RECORDED:
        assert re.fullmatch(r"instance(_route)?:shapbox_[a-z_]+:[a-z0-9_]+", name)
        assert name in names_in(used), f"nobody asks for {name}"


def test_the_numbers_in_the_alerts_are_the_codes() -> None:
    assert f"bytes < {RESERVE_BYTES}" in ALERTS["ShapboxDiskFull"]["expr"]
    assert f"inodes < {RESERVE_INODES}" in ALERTS["ShapboxDiskFull"]["expr"]
    assert f'"interactive"}} > {DEFAULT_WAIT}' in ALERTS["ShapboxOldestBatchTooOld"]["expr"]
    nearly_full = ALERTS["ShapboxRedisNearlyFull"]
    assert f"{ACCEPT_SHARE:.0%}".replace("%", " %") in nearly_full["annotations"]["description"]
    assert float(nearly_full["expr"].rpartition("> ")[2]) < ACCEPT_SHARE


def test_the_local_configuration_scrapes_where_the_monitor_listens_by_default() -> None:
    [job] = yaml.safe_load((PROMETHEUS / "local.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{Settings().metrics_port}"]}]
    [private] = yaml.safe_load((PROMETHEUS / "render-private.yml").read_text())["scrape_configs"]
    assert private["dns_sd_configs"][0]["port"] == Settings().metrics_port


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_names_its_job_as_the_rules_do(name: str) -> None:
    configuration = yaml.safe_load((PROMETHEUS / name).read_text())
    [job] = configuration["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in ALERTS["ShapboxDown"]["expr"]
    assert configuration["rule_files"] == ["rules/*.yml"]
