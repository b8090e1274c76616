"""How leases, deadlines and grace periods relate, also to supervisord.conf."""

from __future__ import annotations

import configparser

from shared.appliance.program_start import START_SECONDS_NAME
from shared.build import ROOT
from shared.timing import TIMING

SECTIONS = ("program:redis", "eventlistener:monitor", "program:api", "program:worker")
#: Seconds of a platform's grace period, such as Render's, in which all programs must stop.
GRACE_SECONDS = 30.0


def test_supervisord_starts_and_stops_programs_as_planned() -> None:
    supervisord = configparser.RawConfigParser(comment_prefixes=(";",))
    supervisord.read(ROOT / "supervisord.conf")
    for section in SECTIONS:
        assert supervisord[section]["startsecs"] == f"%(ENV_{START_SECONDS_NAME})s"
    assert TIMING.program_start_seconds == int(TIMING.program_start_seconds)
    # Every program stops by itself before it is killed.
    stops = {section: float(supervisord[section]["stopwaitsecs"]) for section in SECTIONS}
    assert TIMING.worker_drain_seconds + 2 < stops["program:worker"]
    assert TIMING.monitor_loops_stop_seconds < stops["eventlistener:monitor"]
    assert sum(stops.values()) < GRACE_SECONDS
    assert TIMING.rq_registration_seconds < TIMING.rq_worker_ttl_seconds + 60


def test_a_worker_misses_several_heartbeats_before_it_counts_as_gone() -> None:
    assert 3 * TIMING.heartbeat_interval_seconds < TIMING.heartbeat_lease_seconds
    assert TIMING.heartbeat_lease_seconds < TIMING.settling_seconds
    assert TIMING.settling_seconds < TIMING.silent_worker_seconds
    assert TIMING.claim_seconds < TIMING.lost_search_seconds < TIMING.heartbeat_lease_seconds


def test_an_own_monitor_acts_before_the_others_do() -> None:
    assert TIMING.remote_silent_seconds < TIMING.remote_restart_seconds
    assert TIMING.lost_search_seconds <= TIMING.remote_restart_seconds


def test_a_restart_is_asked_for_only_after_everything_else_had_its_time() -> None:
    assert TIMING.report_max_age_seconds < TIMING.hopeless_seconds <= TIMING.first_report_seconds
    assert TIMING.settling_seconds < TIMING.hopeless_seconds
    assert 2 * TIMING.storage_probe_seconds < TIMING.storage_probe_max_age_seconds
    assert TIMING.orphan_on_full_disk_seconds < TIMING.orphan_seconds
    assert TIMING.kill_pause_seconds < TIMING.futile_kill_pause_seconds
    assert TIMING.http_body_seconds < TIMING.api_grown_seconds < TIMING.api_restart_pause_seconds
