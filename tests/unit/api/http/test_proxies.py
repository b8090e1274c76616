"""Headers of proxies: their meaning, and from whom they are believed."""

from __future__ import annotations

import dataclasses

import pytest

from services.api.app import routes
from services.api.http.proxies import MOST_HOPS, Outside, Proxies
from shared.setting_values import OWN_SEGMENTS, url_prefix
from shared.settings import Settings

PROXY, STRANGER = "127.0.0.1", "198.51.100.7"
TOLD = {
    "HOST": "10.0.0.5:10000",
    "X_FORWARDED_FOR": f"1.2.3.4, {STRANGER}, 10.1.1.1",
    "X_FORWARDED_PREFIX": "/shap",
    "X_FORWARDED_PROTO": "https",
    "X_FORWARDED_HOST": "example.com:8443",
}
AS_TOLD = Outside(STRANGER, "/shap", "https://example.com:8443")
EVIL = (
    *("//evil", "/shap//evil", "javascript:alert(1)", "https://evil", "shap", "/..", "/a/../b", "/./a"),
    *(
        '/"><script>',
        "/a'b",
        "/a b",
        "/a%0d%0aX: y",
        "/a\r\nSet-Cookie: a=b",
        "/\u00e9",
        "/a?b",
        "/a#b",
        "/a\\b",
    ),
    *("/v1", "/docs/more", "/" + "a" * 100, "/shap, //evil"),
)


def outside(peer: str = PROXY, headers: dict[str, str] | None = None, **settings: str) -> Outside:
    parsed = Settings.from_environment(settings)
    return Proxies(parsed).outside(peer, TOLD if headers is None else headers)


def test_headers_are_believed_from_trusted_proxies_alone() -> None:
    for peer in (PROXY, "::1", "::ffff:10.0.0.9", "172.20.0.1"):
        assert outside(peer) == AS_TOLD
    assert outside(STRANGER) == outside(STRANGER, {}) == Outside(STRANGER)
    assert outside(STRANGER, TRUSTED_PROXIES=STRANGER).origin == AS_TOLD.origin
    assert outside(TRUSTED_PROXIES="none") == Outside(PROXY)
    assert outside(TRUSTED_PROXIES="10.0.0.0/8") == Outside(PROXY)


def test_the_setting_prevails_over_the_header_and_needs_no_proxy() -> None:
    assert outside(URL_PREFIX="/a/b/").prefix == outside(STRANGER, URL_PREFIX="/a/b").prefix == "/a/b"
    assert outside(URL_PREFIX="/").prefix == "/shap"


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("", PROXY),
        (STRANGER, STRANGER),
        (f"{STRANGER}:4711", STRANGER),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1, ::1", "2001:db8::1"),
        (f"::ffff:{STRANGER}", STRANGER),
        ("192.168.1.9, 10.1.1.1", "192.168.1.9"),  # a client in a private network
        (f"unknown, {STRANGER}", STRANGER),
        ("1.2.3.4, unknown, 10.1.1.1", "10.1.1.1"),  # nobody vouches for what comes before
        ("1.2.3.4, fe80::1%forged", PROXY),
        ("1.2.3.4, ", PROXY),
        ("1.2.3.4" + ", 10.1.1.1" * MOST_HOPS, "10.1.1.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(forwarded_for: str, client: str) -> None:
    assert outside(headers={"X_FORWARDED_FOR": forwarded_for}).client == client
    assert outside(STRANGER, {"X_FORWARDED_FOR": forwarded_for}).client == STRANGER


@pytest.mark.parametrize("evil", EVIL)
def test_a_value_that_is_not_valid_has_no_effect(evil: str) -> None:
    assert outside(headers=TOLD | {"X_FORWARDED_PREFIX": evil}) == dataclasses.replace(AS_TOLD, prefix="")
    with pytest.raises(ValueError, match=r"is not a path such as /shap|is a path of the api itself"):
        url_prefix(evil)
    assert outside(headers=TOLD | {"X_FORWARDED_PROTO": evil}).origin == ""
    own = dataclasses.replace(AS_TOLD, origin=f"https://{TOLD['HOST']}")
    assert outside(headers=TOLD | {"X_FORWARDED_HOST": f"example.com:{evil}"}) == own
    assert outside(headers={"HOST": f"x:{evil}", "X_FORWARDED_PROTO": "https"}).origin == ""


def test_a_prefix_is_taken_off_once_where_the_proxy_left_it() -> None:
    for path, own in {
        "/shap/v1/jobs": "/v1/jobs",
        "/v1/jobs": "/v1/jobs",
        "//shap/v1/jobs": "/v1/jobs",
        "/shap/shap/v1": "/shap/v1",
        "/shap/": "/",
        "/shap": "",
        "/shapes": "/shapes",
        "*": "*",
    }.items():
        assert AS_TOLD.own_path(path) == own
        assert Outside(PROXY).own_path(path) == path


def test_no_prefix_begins_as_a_path_of_the_api_does() -> None:
    class Anything:
        def __getattr__(self, _name: str) -> Anything:
            return self

    assert {path.split("/")[1] for path in routes(Anything())} - {""} == OWN_SEGMENTS  # type: ignore[arg-type]
