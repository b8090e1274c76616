"""The shipped rules and scrape configurations, as promtool and the documentation see them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from services.api.resources.explain import DEFAULT_WAIT
from shared.build import ROOT
from shared.disk import RESERVE_BYTES, RESERVE_INODES
from shared.redis.capacity import ACCEPT_SHARE
from shared.settings import Settings
from tests.support.shipped import CONFIGURATIONS, PROMETHEUS, cases, names_in, rules
from tests.watch.real_prometheus import promtool

ALERTS, RECORDED = rules("alert"), rules("record")


def test_promtool_finds_no_fault_in_configurations_and_rules(tmp_path: Path) -> None:
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (folder / "metrics-token").write_text("its owner puts it there")
    for name in CONFIGURATIONS:
        assert "2 rule files found" in promtool("check", "config", str(folder / name))
    promtool("check", "rules", "--lint-fatal", *map(str, sorted((folder / "rules").glob("*.yml"))))


def test_alerts_fire_where_they_must_and_not_where_they_must_not() -> None:
    promtool("test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yml"))))
    fired = {(case["alertname"], bool(case["exp_alerts"])) for case in cases()}
    assert fired == {(name, fires) for name in ALERTS for fires in (True, False)}


def test_alerts_say_what_is_wrong_and_their_runbooks_are_there() -> None:
    for name, alert in ALERTS.items():
        notes = alert["annotations"]
        assert alert["labels"]["severity"] in {"critical", "warning"}, name
        assert notes["summary"][0].isupper()
        assert notes["description"].endswith(".")
        page, _, anchor = notes["runbook"].partition("#")
        assert f"\n### {name}\n" in (ROOT / page).read_text()
        assert anchor == name.lower()


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


def test_configurations_scrape_where_the_monitor_listens_and_name_the_job_as_the_rules_do() -> None:
    jobs = {}
    for name in CONFIGURATIONS:
        configuration = yaml.safe_load((PROMETHEUS / name).read_text())
        [jobs[name]] = configuration["scrape_configs"]
        assert f'up{{job="{jobs[name]["job_name"]}"}}' in ALERTS["ShapboxDown"]["expr"]
        assert configuration["rule_files"] == ["rules/*.yml"]
    port = Settings().metrics_port
    assert jobs["local.yml"]["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert jobs["render-private.yml"]["dns_sd_configs"][0]["port"] == port
