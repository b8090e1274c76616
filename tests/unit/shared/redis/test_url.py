from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.redis.url import check_redis_url, public_address, tls_files
from shared.settings import Settings

SECRET = "s3cr3t"  # a test's own


def test_the_usual_forms_are_taken_as_they_are() -> None:
    more = "ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false"
    for url in (
        "redis://redis",
        "redis://redis:6379/0",
        f"redis://:{SECRET},x@redis:6379/2",
        f"rediss://user:{SECRET}%2F%23@redis.example:6380/0?{more}",
        f"rediss://default:{SECRET}@redis.example?ssl_cert_reqs=none",
        f"redis://redis?password={SECRET}&db=3",
        "redis://[::1]:6379",
        "unix:///run/redis.sock?db=1",
    ):
        assert check_redis_url(url) == url
        assert Settings.from_environment({"REDIS_URL": url}).redis_url == url
    url = "rediss://redis?ssl_ca_certs=/etc/my%20ca.pem&ssl_cert_reqs=required"
    assert tls_files(url) == {"ssl_ca_certs": "/etc/my ca.pem"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"https://:{SECRET}@redis", "must start with one of redis://"),
        (f"redis+sentinel://:{SECRET}@one:26379/mymaster/0", "does not ask Sentinels"),
        (f"rediss+sentinel://:{SECRET}@one:26379,two:26379/mymaster", "does not ask Sentinels"),
        (f"sentinel://:{SECRET}@one:26379", "one address that always leads to the primary"),
        (f"redis+cluster://:{SECRET}@one:6379,two:6379", "cluster mode is off"),
        (f"rediss-cluster://:{SECRET}@one:6379", "cluster mode is off"),
        (f"redis://:{SECRET}@one:6379,two:6379/0", "several hosts"),
        (f"rediss://:{SECRET}@one,two:6379", "several hosts"),
        (f"redis://:{SECRET}/x@redis:6379", "percent-encode"),
        (f"redis://:{SECRET}#x@redis:6379", "percent-encode"),
        (f"redis://:{SECRET}?x@redis:6379", "percent-encode"),
        (f"redis://:[{SECRET}@redis:6379", "percent-encode"),
        (f"redis://:{SECRET}@redis:port", "no valid port"),
        (f"redis://:{SECRET}@redis:99999", "no valid port"),
        (f"redis://:{SECRET}@:6379", "names no host"),
        (f"redis://:{SECRET}@redis/first", "database's number"),
        ("unix://", "names no socket"),
        ("redis://redis?ssl_ca_certs=/etc/ca.pem", "rediss:// only"),
        (f"rediss://redis?{SECRET}=1", "other than"),
        ("redis://redis?socket_timeout=300", "Shapbox sets"),
        ("rediss://redis?ssl_cert_reqs=CERT_NONE", "required, optional, none"),
        ("redis://redis?db=first", "whole number"),
    ],
)
def test_what_would_be_misread_is_refused_with_the_remedy_and_without_the_password(
    url: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"REDIS_URL": url})
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"rediss://user:{SECRET}@redis.example:6380/1?ssl_ca_certs=/ca", "rediss://redis.example:6380/1"),
        (f"redis://redis?password={SECRET}", "redis://redis:6379"),
        ("redis://[::1]", "redis://[::1]:6379"),
        (f"unix:///run/redis.sock?password={SECRET}", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public_address(url) == shown
