"""Every setting of smsift in one model.

Sources, strongest first: what a caller passes (flags), SMSIFT_… variables, `.env`, `stack.env` of the local stack,
`smsift.toml`. Nothing else in the project reads the environment.
"""

import json
import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.errors import UserError
from schemas.events import TextMode
from schemas.topics import Topics

PREFIX: Final = "SMSIFT_"
# Read by the test suite alone.
_TEST_ONLY: Final = frozenset({"SMSIFT_TEST_KAFKA", "SMSIFT_TEST_CLICKHOUSE", "SMSIFT_REQUIRE_DOCKER"})
_PATHS: Final = frozenset({"model", "base", "models", "data_store"})  # that may be something else than a path too
KafkaProperties = dict[str, str | int | float | bool]


def _http_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return url


class Settings(BaseSettings):
    """Load with `load_settings()`, which turns a wrong value into one sentence."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )
    stack_env: ClassVar[str] = "stack.env"

    # Kafka
    bootstrap_servers: str | None = Field(None, description="host:port list; empty: the local stack's broker")
    kafka: KafkaProperties = Field({}, description="librdkafka properties for every client (TLS, SASL), as JSON")
    kafka_consumer: KafkaProperties = Field({}, description="librdkafka properties for consumers only, as JSON")
    kafka_producer: KafkaProperties = Field({}, description="librdkafka properties for producers only, as JSON")
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        "sms.", description="before inbound, spam, ham, dead, labels and alerts"
    )
    inbound_partitions: int = Field(6, ge=1, le=1000, description="partitions of each topic, when smsift creates it")
    replication_factor: int = Field(1, ge=1, le=9, description="replicas of each topic; 3 in production")

    # Filter
    filter_group: str = Field("smsift-filter", min_length=1, description="consumer group of the filter")
    transactional_id: str = Field(
        "", description="stable per replica; empty: <group>-<host>-0; two live filters with one id fence each other"
    )
    batch_tokens: int = Field(2048, ge=16, description="token budget of a micro-batch, estimated")
    batch_messages: int = Field(2000, ge=1, description="most messages in a micro-batch")
    linger_ms: int = Field(20, ge=0, le=10_000, description="longest wait for a fuller micro-batch")
    buffer_batches: int = Field(4, ge=1, le=64, description="micro-batches held in memory before consumption pauses")
    drain_s: float = Field(10.0, gt=0, description="budget to finish the running batch after SIGTERM")
    start: Literal["auto", "earliest", "latest"] = Field(
        "auto", description="where a partition without an offset starts; auto refuses where that may lose or repeat"
    )
    dead_window: int = Field(1000, ge=10, description="records looked back on for faults of our own making")
    dead_ratio: float = Field(0.5, gt=0, le=1, description="share of own faults in that window that pauses the filter")
    dead_in_a_row: int = Field(200, ge=1, description="own faults in a row that pause the filter")

    # Model
    model: str | None = Field(
        None,
        description="model folder; empty: the champion of the models folder, else the model that comes with smsift",
    )
    models: str | None = Field(
        None, description="models folder, a path or an fsspec address; empty: models in the local folder"
    )
    base: str | None = Field(None, description="folder or hub id of the base model; empty: as the manifest says")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=1024, description="threads of the model on a CPU; 0: one per core")

    # Training
    data_store: str | None = Field(
        None, description="snapshots of training data, a path or an fsspec address; empty: data in the local folder"
    )
    tracking_uri: str | None = Field(None, description="MLflow tracking URI; empty: sqlite in the local folder")
    hub_token: SecretStr | None = Field(None, description="token for gated models and data sets of the hub")

    # Privacy
    pseudonym_key: SecretStr | None = Field(None, description="key of the HMAC that replaces numbers in verdicts")
    pseudonym_key_file: Path | None = Field(None, description="file holding that key")
    text_mode: TextMode = Field("keep", description="keep, hash or drop the text in verdicts")

    # ClickHouse
    clickhouse_url: Annotated[str | None, AfterValidator(_http_url)] = Field(
        None, description="http(s)://host:port; empty: the local stack's"
    )
    clickhouse_user: str = Field("default", description="user of the sink and of queries")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="its password")
    clickhouse_database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        "smsift", description="database of the tables"
    )
    sink_group: str = Field("smsift-sink", min_length=1, description="consumer group of the sink")
    sink_batch_rows: int = Field(20_000, ge=1, le=100_000, description="most rows in one insert")
    sink_linger_ms: int = Field(1000, ge=0, le=60_000, description="longest wait for a fuller insert")

    # Operation
    http_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    http_port: int | None = Field(None, ge=0, le=65535, description="port of it; 0: any free one; empty: none")
    stall_s: float = Field(60.0, gt=0, description="a loop that has not turned for this long is not live")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    log_file: Path | None = Field(None, description="log file; empty: stderr")
    log_max_mb: float = Field(64.0, gt=0, description="size at which the log file is rotated")
    log_max_hours: float = Field(24.0, gt=0, description="age at which the log file is rotated")
    log_keep: int = Field(7, ge=1, description="rotated log files that are kept")
    local_dir: Path = Field(Path(".smsift"), description="data folder of the local stack")
    corpus_dir: Path | None = Field(None, description="folder of labelled corpora, for the tests that can use them")

    @model_validator(mode="after")
    def _usable_key(self) -> "Settings":
        """A key that is asked for and not there would let numbers leave as they are."""
        if self.pseudonym_key_file is not None:
            try:
                self.pseudonym_key_file.read_bytes()
            except OSError as error:
                raise ValueError(f"SMSIFT_PSEUDONYM_KEY_FILE: {error.strerror or 'cannot be read'}") from None
        key = self.pseudonym_secret
        if key is not None and not key.strip():
            raise ValueError("the pseudonym key is empty")
        if self.text_mode == "hash" and key is None:
            raise ValueError("SMSIFT_TEXT_MODE: hash needs a pseudonym key: without one anybody can try likely texts")
        return self

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    @property
    def models_folder(self) -> str:
        return self.models or str(self.local_dir / "models")

    @property
    def models_cache(self) -> Path:
        """Where versions of a remote models folder are copied to."""
        return self.local_dir / "cache"

    @property
    def data_folder(self) -> str:
        return self.data_store or str(self.local_dir / "data")

    @property
    def mlflow_uri(self) -> str:
        return self.tracking_uri or f"sqlite:///{(self.local_dir / 'mlflow.db').absolute()}"

    @property
    def replica_id(self) -> str:
        """The transactional id: the same after a restart of the same replica, different between replicas."""
        return self.transactional_id or f"{self.filter_group}-{socket.gethostname()}-0"

    @property
    def pseudonym_secret(self) -> bytes | None:
        """The pseudonym key from its variable or file, or None where numbers stay as they are."""
        if self.pseudonym_key is not None:
            return self.pseudonym_key.get_secret_value().encode()
        return self.pseudonym_key_file.read_bytes().strip() if self.pseudonym_key_file else None

    def require_bootstrap_servers(self) -> str:
        if not self.bootstrap_servers:
            raise UserError(
                "No Kafka broker is configured: set SMSIFT_BOOTSTRAP_SERVERS, or start one with `smsift up`."
            )
        return self.bootstrap_servers

    def require_clickhouse_url(self) -> str:
        if not self.clickhouse_url:
            raise UserError("No ClickHouse is configured: set SMSIFT_CLICKHOUSE_URL, or start one with `smsift up`.")
        return self.clickhouse_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, Path("smsift.toml"))
        return init_settings, env_settings, dotenv_settings, toml


def load_settings(**overrides: Any) -> Settings:
    """Read all sources; None among the overrides means "not given".

    Raises UserError naming each wrong field and what is allowed, never the value: it may be a secret.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    local_dir = Path(given.get("local_dir") or _local_dir())
    try:
        return Settings(_env_file=(local_dir / Settings.stack_env, ".env"), **given)
    except ValidationError as error:
        raise UserError(f"Wrong settings: {'; '.join(_sentence(problem) for problem in error.errors())}.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"smsift.toml is not TOML: {str(error).rstrip('.')}.") from None
    except (ValueError, OSError) as error:  # a variable that should be JSON and is not; a file that cannot be read
        raise UserError(f"Cannot read the settings: {error}.") from None


def _local_dir() -> str:
    """Where stack.env lies must be known before the settings can be read: the environment or `.env` alone say."""
    from dotenv import dotenv_values

    name = PREFIX + "LOCAL_DIR"
    return os.environ.get(name) or dotenv_values(".env").get(name) or ".smsift"


def _sentence(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    return f"{PREFIX}{field.upper()}: {problem['msg']}" if field else str(problem["msg"])


def misspelt(local_dir: Path) -> list[str]:
    """Names in the environment and the settings files that look like settings and are none."""
    from dotenv import dotenv_values

    fields = {PREFIX + name.upper() for name in Settings.model_fields} | _TEST_ONLY
    named = {*os.environ, *dotenv_values(".env"), *dotenv_values(local_dir / Settings.stack_env)}
    toml = Path("smsift.toml")
    keys = tomllib.loads(toml.read_text(encoding="utf-8")) if toml.is_file() else {}
    wrong = {name for name in named if name.upper().startswith(PREFIX) and name.upper() not in fields}
    return sorted(wrong | {f"{key} in {toml}" for key in keys if key not in Settings.model_fields})


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables under which another process, in whatever folder, loads the same settings. Holds secrets."""
    variables = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Path) or (name in _PATHS and value and Path(value).exists()):
            value = Path(value).absolute()
        if value is not None:
            variables[PREFIX + name.upper()] = json.dumps(value) if isinstance(value, dict) else str(value)
    return variables


def env_example() -> str:
    """The text of `.env.example`: every setting with its default and meaning."""
    lines = ["# Every setting of smsift, with its default. Copy to .env and uncomment what you change.", ""]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = json.dumps(default) if isinstance(default, dict) else ("" if default is None else str(default))
        lines += [f"# {field.description}", f"#{PREFIX}{name.upper()}={shown}", ""]
    return "\n".join(lines)
