"""Debian's nginx with the configuration that docs/behind-a-proxy.md shows."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.lab.trial_appliance import free_ports
from shared.build import ROOT
from tests.support.redis_server import until
from tests.support.remote.certificates import Certificates

#: Set where a missing nginx is a failure (.ci/run).
REQUIRED = "SHAPBOX_PROXY_TESTS"
PAGE = ROOT / "docs" / "behind-a-proxy.md"
#: The rest of the configuration, which Debian's nginx.conf has, with folders that a test may write to.
AROUND = """
user root;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {part}
}}
"""


def find_nginx() -> str:
    """Return the program's path; skip the test if there is none."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        said = "there is no nginx (apt-get install nginx-light)"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"{REQUIRED}=required, and {said}")
        pytest.skip(f"{said}: nothing is tried behind a proxy")
    return found


@contextlib.contextmanager
def nginx_before(
    appliance: str, folder: Path, certificates: Certificates, *changes: tuple[str, str]
) -> Iterator[str]:
    """Run the page's nginx in front of an appliance; yield the address for clients.

    `changes` are replacements in the page's configuration.
    """
    (part,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (port,) = free_ports(1)
    own = (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/shapbox/server.pem", str(certificates.certificate)),
        ("/etc/ssl/shapbox/server.key", str(certificates.key)),
        ("127.0.0.1:10000", urlsplit(appliance).netloc),
    )
    for old, new in (*changes, *own):
        assert part.count(old) == 1, old
        part = part.replace(old, new)
    folder.mkdir(exist_ok=True)
    configuration, log = folder / "nginx.conf", folder / "error.log"
    configuration.write_text(AROUND.format(folder=folder, part=part), encoding="utf-8")
    with subprocess.Popen(
        [find_nginx(), "-e", str(log), "-p", str(folder), "-c", str(configuration)]
    ) as nginx:
        try:
            until(lambda: nginx.poll() is not None or _listens(port))
            assert nginx.poll() is None, log.read_text(encoding="utf-8")
            yield f"https://127.0.0.1:{port}/shap"
        finally:
            nginx.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
