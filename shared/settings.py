"""The settings: read once, by an entry point, from the environment; checked whole; then frozen.

Every default stands here and nowhere else. Each name may also be given as ``NAME_FILE``, the path of a
file that holds the value, which is how secrets are passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import SettingsError
from shared.redis.url import check_redis_url

#: Bytes that a unix socket's path may have on Linux, less some for the longest socket's own name.
MAX_SOCKET_FOLDER_BYTES = 80
#: Where sockets go otherwise. Not TMPDIR: boot gives the programs one of their own, and all must look in one place.
SHORT_FOLDER = Path("/tmp")  # noqa: S108  # boot refuses a folder there that belongs to someone else

#: MEMORY_LIMIT_MB at least: less does not hold the programs and one worker. And at most.
LEAST_MEMORY_LIMIT_MB, MOST_MEMORY_LIMIT_MB = 200, 1_048_576

#: MB that boot and the libraries of an activation take, and MB that a model may take beside them at least.
ACTIVATION_BASE_MB, LEAST_ACTIVATION_MB = 175, 64

#: The secrets, by setting name. Boot makes those that are unset.
KEY_NAMES = ("API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN")

#: From where proxies connect, also Render's and Docker's: nobody's address on the Internet.
PRIVATE_NETWORKS = tuple(
    ip_network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)

_STORAGE_SCHEMES = ("s3", "gs", "az", "file", "http", "https")


class Role(StrEnum):
    """Which of the programs this container runs."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings. Sizes are in MB of 2**20 bytes, times in the unit of the name."""

    host: str = "127.0.0.1"
    port: int = 10000
    api_key: str | None = None
    admin_api_key: str | None = None
    metrics_token: str | None = None
    data_dir: Path = Path(".data")
    models_dir: Path = Path("models")
    redis_url: str | None = None
    storage_url: str | None = None
    role: Role = Role.ALL
    workers: int | None = None
    batch_rows: int | None = None
    memory_limit_mb: int = 475
    worker_memory_limit_mb: int | None = None
    max_body_mb: int = 1024
    max_rows: int = 5_000_000
    max_queued_batches: int = 20_000
    batch_timeout_seconds: int = 60
    activation_memory_mb: int | None = None
    activation_seconds: int = 120
    result_ttl_hours: float = 24.0
    default_model: str | None = None
    allow_fallback_model: bool = False
    metrics_port: int = 9464
    max_connections_per_address: int = 100
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = PRIVATE_NETWORKS
    log_format: LogFormat = LogFormat.TEXT
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings.

        Raises SettingsError with every fault in one message, each with its fix.
        """
        faults: list[str] = []
        values: dict[str, object] = {}
        for name, parse in _PARSERS.items():
            text = _raw_value(environment, name, faults)
            if text is None:
                continue
            try:
                values[name.lower()] = parse(text)
            except ValueError as fault:
                faults.append(f"{name}: {fault}")
        if not faults:
            settings = cls(**values)  # type: ignore[arg-type]  # each parser returns its field's type
            faults.extend(_contradictions(settings))
            if not faults:
                return settings
        raise SettingsError(
            "These settings cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults)
        )

    @property
    def embedded_redis(self) -> bool:
        """Whether this appliance runs its own Redis."""
        return self.redis_url is None

    @property
    def run_dir(self) -> Path:
        """The folder of sockets, the lock and generated configuration.

        It lies under DATA_DIR, unless that path is too long for a unix socket: then a folder named after
        it lies in SHORT_FOLDER.
        """
        folder = self.data_dir.absolute() / "run"
        if len(bytes(folder)) <= MAX_SOCKET_FOLDER_BYTES:
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
    def status_file(self) -> Path:
        """What the monitor last found out, for the api's health answers."""
        return self.run_dir / "status.json"

    @property
    def keys_dir(self) -> Path:
        """The keys that boot made, one file each, mode 0600."""
        return self.data_dir.absolute() / "keys"

    @property
    def host_name_file(self) -> Path:
        """The name that boot gave this appliance: its workers are called after it."""
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
    def standins_dir(self) -> Path:
        """The stand-ins made in place of broken models."""
        return self.data_dir.absolute() / "standins"

    @property
    def compiled_dir(self) -> Path:
        """Models as boot has compiled them."""
        return self.data_dir.absolute() / "compiled"

    @property
    def activations_file(self) -> Path:
        """How each model's activation ended, as boot found it out."""
        return self.compiled_dir / "activations.json"

    @property
    def activation_growth_mb(self) -> int:
        """The MB that activating one model may take beside the libraries: ACTIVATION_MEMORY_MB, or what the container leaves."""
        return self.activation_memory_mb or max(
            self.memory_limit_mb - ACTIVATION_BASE_MB, LEAST_ACTIVATION_MB
        )

    @property
    def redis_dir(self) -> Path:
        """The embedded Redis's append-only file."""
        return self.data_dir.absolute() / "redis"

    @property
    def tmp_dir(self) -> Path:
        """Uploads on their way: on disk, since a container's /tmp may be memory."""
        return self.data_dir.absolute() / "tmp"


def is_set(environment: Mapping[str, str], name: str) -> bool:
    """Return whether a setting is given, by its name or by its file."""
    return any(environment.get(given, "").strip() for given in (name, f"{name}_FILE"))


def _raw_value(environment: Mapping[str, str], name: str, faults: list[str]) -> str | None:
    """Return the setting's text from NAME or NAME_FILE; an empty value counts as unset."""
    text = environment.get(name, "").strip()
    file = environment.get(f"{name}_FILE", "").strip()
    if text and file:
        faults.append(f"{name} and {name}_FILE are both set: unset one of them")
        return None
    if not file:
        return text or None
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        faults.append(f"{name}_FILE: {file} cannot be read ({fault}): point it at a readable text file")
        return None
    if not text:
        faults.append(f"{name}_FILE: {file} is empty: write the value into it")
    return text or None


def _contradictions(settings: Settings) -> list[str]:
    """Return the faults that only several settings together have."""
    faults = []
    if settings.role is not Role.ALL and settings.embedded_redis:
        faults.append(
            f"REDIS_URL: must be set with ROLE={settings.role}, since the embedded Redis serves one container only"
        )
    if settings.role is not Role.ALL and settings.storage_url is None:
        faults.append(
            f"STORAGE_URL: must be set with ROLE={settings.role}: api and workers share one object store"
        )
    if settings.port == settings.metrics_port:
        faults.append(f"METRICS_PORT: {settings.metrics_port} is PORT as well: choose another one")
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


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours <= 24 * 365:
        raise ValueError(f"{text!r} is not a number of hours above 0 and up to a year")
    return hours


def _flag(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def _key(text: str) -> str:
    #: A key shorter than this can be guessed.
    shortest = 16
    if len(text) < shortest:
        raise ValueError(f"a key has at least {shortest} characters; unset it and one is made at boot")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key consists of printable ASCII characters without blanks")
    return text


def _storage_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in _STORAGE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in _STORAGE_SCHEMES)
        raise ValueError(f"the address must start with one of {schemes}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("a folder is named whole: write file:///path/of/the/folder")
    elif rest.startswith("/") or not rest:
        raise ValueError(f"the address names no bucket: write {scheme}://BUCKET or {scheme}://BUCKET/FOLDER")
    return text


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if text == "none":
        return ()
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError as fault:
        raise ValueError(
            f"{fault}: write addresses or networks such as 10.0.0.0/8 with commas, or none"
        ) from fault


_PARSERS: dict[str, Callable[[str], object]] = {
    "HOST": str,
    "PORT": _whole(1, 65535),
    **dict.fromkeys(KEY_NAMES, _key),
    "DATA_DIR": Path,
    "MODELS_DIR": Path,
    "REDIS_URL": check_redis_url,
    "STORAGE_URL": _storage_url,
    "ROLE": lambda text: Role(_one_of(*Role)(text)),
    "WORKERS": _whole(1, 64),
    "BATCH_ROWS": _whole(1, 100_000),
    "MEMORY_LIMIT_MB": _whole(LEAST_MEMORY_LIMIT_MB, MOST_MEMORY_LIMIT_MB),
    "WORKER_MEMORY_LIMIT_MB": _whole(60, 1_048_576),
    "MAX_BODY_MB": _whole(1, 65_536),
    "MAX_ROWS": _whole(1, 1_000_000_000),
    "MAX_QUEUED_BATCHES": _whole(1, 1_000_000),
    "BATCH_TIMEOUT_SECONDS": _whole(1, 3600),
    "ACTIVATION_MEMORY_MB": _whole(LEAST_ACTIVATION_MB, 1_048_576),
    "ACTIVATION_SECONDS": _whole(1, 3600),
    "RESULT_TTL_HOURS": _hours,
    "DEFAULT_MODEL": str,
    "ALLOW_FALLBACK_MODEL": _flag,
    "METRICS_PORT": _whole(1, 65535),
    "MAX_CONNECTIONS_PER_ADDRESS": _whole(1, 1_000_000),
    "TRUSTED_PROXIES": _networks,
    "LOG_FORMAT": lambda text: LogFormat(_one_of(*LogFormat)(text)),
    "LOG_LEVEL": lambda text: _one_of("DEBUG", "INFO", "WARNING", "ERROR")(text.upper()),
}

#: Every setting's name, for the documentation's test.
SETTING_NAMES = tuple(_PARSERS)

if {name.lower() for name in _PARSERS} != {field.name for field in fields(Settings)}:  # pragma: no cover
    raise AssertionError("the parsers and the fields of Settings have come apart")
