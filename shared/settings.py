"""The settings, read once from the environment by an entry point, checked, then frozen.

All defaults are defined here. Each setting NAME may also be given as NAME_FILE, the path of a file with the value, which is
how secrets are passed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit

from shared import setting_values as parse
from shared.errors import SettingsError
from shared.redis.url import check_redis_url

#: Bytes that the path of a folder for unix sockets may have on Linux.
MAX_SOCKET_FOLDER_BYTES = 80
#: A path for sockets that every program reads as it is.
SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]+")
#: Where sockets are placed otherwise. Not TMPDIR, which differs between boot and the programs.
SHORT_FOLDER = Path("/tmp")  # noqa: S108  # boot refuses a folder there that belongs to someone else

#: The bounds of MEMORY_LIMIT_MB: less does not hold the programs and one worker.
LEAST_MEMORY_LIMIT_MB, MOST_MEMORY_LIMIT_MB = 200, 1_048_576

#: MB that boot and the libraries of an activation take, and that a model may take beside them at least.
ACTIVATION_BASE_MB, LEAST_ACTIVATION_MB = 175, 64

#: The secrets. Boot generates those that are unset.
KEY_NAMES = ("API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN")

#: From where proxies connect, also Render's and Docker's: nobody's address on the Internet.
PRIVATE_NETWORKS = parse.networks(
    "10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, ::1, fc00::/7"
)

#: Connections beyond MAX_CONNECTIONS that loopback and health checks may open.
RESERVED_CONNECTIONS = 32


class Role(StrEnum):
    """The programs that this container runs."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class Durability(StrEnum):
    """Whether an accepted job survives the end of processes only, or a power cut as well."""

    PROCESS = "process"
    POWER = "power"


class LogFormat(StrEnum):
    """The format of log lines."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings. Sizes are in MB of 2**20 bytes, times in the unit of the name.

    Each is read from text by the parser that its annotation names, else by its type.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, parse.whole(1, 65535)] = 10000
    api_key: Annotated[str | None, parse.key] = None
    admin_api_key: Annotated[str | None, parse.key] = None
    metrics_token: Annotated[str | None, parse.key] = None
    data_dir: Path = Path(".data")
    models_dir: Path = Path("models")
    redis_url: Annotated[str | None, check_redis_url] = None
    storage_url: Annotated[str | None, parse.storage_url] = None
    role: Annotated[Role, parse.member_of(Role)] = Role.ALL
    workers: Annotated[int | None, parse.whole(1, 64)] = None
    batch_rows: Annotated[int | None, parse.whole(1, 100_000)] = None
    memory_limit_mb: Annotated[int, parse.whole(LEAST_MEMORY_LIMIT_MB, MOST_MEMORY_LIMIT_MB)] = 475
    worker_memory_limit_mb: Annotated[int | None, parse.whole(60, 1_048_576)] = None
    max_body_mb: Annotated[int, parse.whole(1, 65_536)] = 1024
    max_rows: Annotated[int, parse.whole(1, 1_000_000_000)] = 5_000_000
    max_queued_batches: Annotated[int, parse.whole(1, 1_000_000)] = 20_000
    batch_timeout_seconds: Annotated[int, parse.whole(1, 3600)] = 60
    activation_memory_mb: Annotated[int | None, parse.whole(LEAST_ACTIVATION_MB, 1_048_576)] = None
    activation_seconds: Annotated[int, parse.whole(1, 3600)] = 120
    durability: Annotated[Durability, parse.member_of(Durability)] = Durability.PROCESS
    result_ttl_hours: Annotated[float, parse.hours] = 24.0
    default_model: Annotated[str | None, str] = None
    allow_fallback_model: Annotated[bool, parse.flag] = False
    metrics_port: Annotated[int, parse.whole(1, 65535)] = 9464
    max_connections: Annotated[int, parse.whole(10, 10_000)] = 300
    max_connections_per_address: Annotated[int, parse.whole(1, 1_000_000)] = 100
    max_waiting_requests: Annotated[int, parse.whole(1, 200)] = 24
    idle_timeout_seconds: Annotated[int, parse.whole(5, 3600)] = 75
    trusted_proxies: Annotated[parse.Networks, parse.networks] = PRIVATE_NETWORKS
    url_prefix: Annotated[str, parse.url_prefix] = ""
    log_format: Annotated[LogFormat, parse.member_of(LogFormat)] = LogFormat.TEXT
    log_level: Annotated[str, parse.log_level] = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings.

        Raises SettingsError with all faults in one message, each with its fix.
        """
        faults: list[str] = []
        values: dict[str, Any] = {}
        for field, hint in get_type_hints(cls, include_extras=True).items():
            name = field.upper()
            text = _raw_value(environment, name, faults)
            if text is None:
                continue
            (parser,) = getattr(hint, "__metadata__", (hint,))
            try:
                values[field] = parser(text)
            except ValueError as fault:
                faults.append(f"{name}: {fault}")
        if not faults:
            settings = cls(**values)
            faults.extend(_contradictions(settings))
            if not faults:
                return settings
        raise SettingsError("These settings are invalid:\n" + "\n".join(f"  - {fault}" for fault in faults))

    @property
    def embedded_redis(self) -> bool:
        """Whether this appliance runs its own Redis."""
        return self.redis_url is None

    @property
    def run_dir(self) -> Path:
        """The folder of sockets, the lock and generated configuration.

        It is under DATA_DIR, or in SHORT_FOLDER if that path is too long for a unix socket, or has characters that Redis,
        RQ or supervisord would read as something else (`CLIENT LIST` separates its fields by spaces and `=`).
        """
        folder = self.data_dir.absolute() / "run"
        if len(bytes(folder)) <= MAX_SOCKET_FOLDER_BYTES and SAFE_PATH.fullmatch(str(folder)):
            return folder
        digest = hashlib.sha256(bytes(folder)).hexdigest()[:12]
        return SHORT_FOLDER / f"shapbox-{digest}"

    @property
    def redis_socket(self) -> Path:
        """Where the embedded Redis listens."""
        return self.run_dir / "redis.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord takes commands."""
        return self.run_dir / "supervisor.sock"

    @property
    def starting_socket(self) -> Path:
        """Where the api takes the listening sockets from the program that answers until then."""
        return self.run_dir / "starting.sock"

    @property
    def load_file(self) -> Path:
        """The api's connections and waiting requests, for the monitor's metrics."""
        return self.run_dir / "load"

    @property
    def api_files(self) -> int:
        """The files that the api may have open: two for each connection, and others."""
        return 2 * (self.max_connections + RESERVED_CONNECTIONS) + 100

    @property
    def status_file(self) -> Path:
        """The monitor's last report, for the api's health endpoints."""
        return self.run_dir / "status.json"

    @property
    def keys_dir(self) -> Path:
        """The generated keys, one file each, mode 0600."""
        return self.data_dir.absolute() / "keys"

    @property
    def host_name_file(self) -> Path:
        """The name that boot chose for this appliance; its workers are called after it."""
        return self.data_dir.absolute() / "host-name"

    @property
    def objects_dir(self) -> Path:
        """The object store's folder when STORAGE_URL is unset."""
        return self.data_dir.absolute() / "objects"

    @property
    def local_objects_dir(self) -> Path | None:
        """The folder of a local object store; None for a remote one."""
        if self.storage_url is None:
            return self.objects_dir
        return Path(urlsplit(self.storage_url).path) if self.storage_url.startswith("file://") else None

    @property
    def placeholders_dir(self) -> Path:
        """The placeholder models made for broken ones."""
        return self.data_dir.absolute() / "placeholders"

    @property
    def compiled_dir(self) -> Path:
        """Models as boot has compiled them."""
        return self.data_dir.absolute() / "compiled"

    @property
    def activations_file(self) -> Path:
        """The activation record of each model."""
        return self.compiled_dir / "activations.json"

    @property
    def activation_growth_mb(self) -> int:
        """The MB that one model's activation may take beside the libraries."""
        return self.activation_memory_mb or max(
            self.memory_limit_mb - ACTIVATION_BASE_MB, LEAST_ACTIVATION_MB
        )

    @property
    def redis_dir(self) -> Path:
        """The embedded Redis's append-only file."""
        return self.data_dir.absolute() / "redis"

    @property
    def tmp_dir(self) -> Path:
        """Uploads in progress: on disk, since a container's /tmp may be memory."""
        return self.data_dir.absolute() / "tmp"


def is_set(environment: Mapping[str, str], name: str) -> bool:
    """Return whether a setting is given, directly or as a file."""
    return any(environment.get(given, "").strip() for given in (name, f"{name}_FILE"))


def _raw_value(environment: Mapping[str, str], name: str, faults: list[str]) -> str | None:
    """Return the text of NAME or of the file in NAME_FILE; an empty value counts as unset."""
    text = environment.get(name, "").strip()
    file = environment.get(f"{name}_FILE", "").strip()
    if text and file:
        faults.append(f"{name} and {name}_FILE are both set: unset one")
        return None
    if not file:
        return text or None
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        faults.append(f"{name}_FILE: {file} cannot be read ({fault}): point it at a readable text file")
        return None
    if not text:
        faults.append(f"{name}_FILE: {file} is empty: it must contain the value")
    return text or None


def _contradictions(settings: Settings) -> list[str]:
    """Return the faults of combinations of settings."""
    faults = []
    if settings.role is not Role.ALL and settings.embedded_redis:
        faults.append(
            f"REDIS_URL: must be set with ROLE={settings.role}, since the embedded Redis serves only its own container"
        )
    if settings.role is not Role.ALL and settings.storage_url is None:
        faults.append(
            f"STORAGE_URL: must be set with ROLE={settings.role}: the api and the workers share one object store"
        )
    if settings.port == settings.metrics_port:
        faults.append(f"METRICS_PORT: {settings.metrics_port} is also PORT: choose another one")
    given = [key for key in (settings.api_key, settings.admin_api_key, settings.metrics_token) if key]
    if len(set(given)) != len(given):
        faults.append(
            "API_KEY, ADMIN_API_KEY and METRICS_TOKEN: two of them are equal: give each its own value"
        )
    worker_limit = settings.worker_memory_limit_mb
    if worker_limit is not None and worker_limit >= settings.memory_limit_mb:
        faults.append(
            f"WORKER_MEMORY_LIMIT_MB: {worker_limit} is not below MEMORY_LIMIT_MB ({settings.memory_limit_mb})"
        )
    return faults


#: Every setting's name.
SETTING_NAMES = tuple(one.name.upper() for one in fields(Settings))
