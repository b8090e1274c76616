from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.settings import MAX_SOCKET_FOLDER_BYTES, LogFormat, Role, Settings


def test_values_are_read_from_the_environment_and_have_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    settings = Settings.from_environment(
        {"PORT": "8080", "LOG_FORMAT": "json", "ALLOW_FALLBACK_MODEL": "yes", "RESULT_TTL_HOURS": "0.5"}
    )
    assert (settings.port, settings.log_format) == (8080, LogFormat.JSON)
    assert settings.allow_fallback_model
    assert settings.result_ttl_hours == 0.5
    remote = {"ROLE": "worker", "REDIS_URL": "rediss://remote", "STORAGE_URL": "s3://rows"}
    settings = Settings.from_environment(remote)
    assert settings.role is Role.WORKER
    assert not settings.embedded_redis


def test_a_secret_is_read_from_the_file_that_its_name_with_file_points_at(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-long-enough-secret\n")
    assert Settings.from_environment({"API_KEY_FILE": str(key)}).api_key == "a-long-enough-secret"
    key.write_text("")
    with pytest.raises(SettingsError, match="is empty"):
        Settings.from_environment({"API_KEY_FILE": str(key)})


def test_all_faults_come_in_one_message_each_with_its_name() -> None:
    environment = {
        "PORT": "99999",
        "BATCH_ROWS": "many",
        "API_KEY": "short",
        "ROLE": "boss",
        "ALLOW_FALLBACK_MODEL": "perhaps",
        "REDIS_URL": "http://somewhere",
        "METRICS_TOKEN_FILE": "/nowhere/token",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    for name in environment:
        assert f"- {name}" in str(caught.value)
    assert str(caught.value).count("\n  - ") == len(environment)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ROLE": "worker", "STORAGE_URL": "s3://rows"}, "REDIS_URL"),
        ({"ROLE": "api", "REDIS_URL": "redis://remote"}, "STORAGE_URL"),
        ({"PORT": "9464"}, "METRICS_PORT"),
        ({"API_KEY": "k" * 20, "ADMIN_API_KEY": "k" * 20}, "two of them are equal"),
        ({"WORKER_MEMORY_LIMIT_MB": "475"}, "WORKER_MEMORY_LIMIT_MB"),
        ({"API_KEY": "k" * 20, "API_KEY_FILE": "/some/file"}, "both set"),
        ({"STORAGE_URL": "s3://"}, "names no bucket"),
        ({"STORAGE_URL": "s3:///rows"}, "names no bucket"),
        ({"STORAGE_URL": "rows"}, "must start with one of s3://"),
        ({"STORAGE_URL": "file://rows"}, "absolute path"),
    ],
)
def test_settings_that_contradict_each_other_or_name_no_store_are_refused(
    environment: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.from_environment(environment)


def test_sockets_move_to_a_short_folder_where_the_data_folder_is_too_deep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = Path("/data") / ("x" * 100)
    for_boot = Settings(data_dir=deep).run_dir
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # as in the programs, which have their own TMPDIR
    settings = Settings(data_dir=deep)
    assert Settings(data_dir=Path("/data")).redis_socket == Path("/data/run/redis.sock")
    assert settings.run_dir == for_boot
    assert len(bytes(settings.run_dir)) <= MAX_SOCKET_FOLDER_BYTES
    assert settings.run_dir != Settings(data_dir=deep / "y").run_dir
