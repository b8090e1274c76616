import sys
from pathlib import Path

import pytest

from ops.lab.bench import peer_engine, peer_environments
from ops.lab.bench.peer_engine import PeerEngine, PeerError, peer_engines

#: A library's program as the bench talks to it: it answers, dawdles, fails or dies as it is told.
PROGRAM = """
import json, sys, time
for line in sys.stdin:
    words = json.loads(line)
    if words["do"] == "load":
        print(json.dumps({}), flush=True)
    elif words["rows"] == 1:
        print(json.dumps({"seconds": 0.25}), flush=True)
    elif words["rows"] == 2:
        print(json.dumps({"fault": "MemoryError: no room"}), flush=True)
    elif words["rows"] == 3:
        sys.exit(1)
    else:
        time.sleep(60)
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PeerEngine:
    (tmp_path / "engine_program.py").write_text(PROGRAM)
    monkeypatch.setattr(peer_engine, "PEERS", tmp_path)
    return PeerEngine("shap", Path(sys.executable))


def test_a_library_tells_its_own_seconds(peer: PeerEngine) -> None:
    peer.load(Path("model"), Path("rows"))
    assert peer.seconds(1, 10.0) == 0.25
    peer.end()


@pytest.mark.parametrize(
    ("rows", "patience", "said"),
    [(2, 10.0, "no room"), (3, 10.0, "its process ended"), (4, 0.2, "> 0 s")],
)
def test_who_fails_dies_or_dawdles_says_why_and_is_ended(
    peer: PeerEngine, rows: int, patience: float, said: str
) -> None:
    peer.load(Path("model"), Path("rows"))
    with pytest.raises(PeerError, match=said):
        peer.seconds(rows, patience)
    assert peer._process is None
    assert peer.seconds(1, 10.0) == 0.25  # another process
    peer.end()


def test_without_their_environment_there_are_no_peers() -> None:
    with peer_engines(["shap"], None) as peers:
        assert peers == []


def test_an_environment_without_a_fitting_python_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer_environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(peer_environments, "PYTHONS", {"mlserver": ("1.0",)})
    assert peer_environments.peer_python("mlserver") is None
    assert "no Python 1.0 is here for mlserver" in capsys.readouterr().out
