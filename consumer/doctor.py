"""Look at everything that smsift stands on and say, for each, what is right or what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from consumer.clickhouse import connect, explain
from consumer.kafka_clients import ADMIN_TIMEOUT_S, client, client_config, consumer_config, transactional_config
from consumer.settings import Settings, misspelt
from schemas.errors import UserError
from schemas.topics import DAY_MS, DEAD_MAX_BYTES, INBOUND_MAX_BYTES, TOPICS

Level = Literal["good", "warning", "wrong"]
MARKS: dict[Level, str] = {"good": "✓", "warning": "!", "wrong": "✗"}
DURABLE_REPLICAS = 3
DURABLE_IN_SYNC = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; the sentence says what to do where it is not good."""

    level: Level
    sentence: str

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.sentence}"


def examine(settings: Settings, load_model: Callable[[], Any]) -> Iterator[Finding]:
    """Yield the findings as they are made: settings, broker, topics, ClickHouse, model."""
    yield from _guarded("The settings", lambda: _settings(settings))
    yield from _guarded("Kafka", lambda: _kafka(settings))
    yield from _guarded("ClickHouse", lambda: _clickhouse(settings))
    yield from _guarded("The model", lambda: _model(load_model))


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except UserError as error:
        yield Finding("wrong", str(error))
    except ClickHouseError as error:
        yield Finding("wrong", f"ClickHouse refuses: {explain(error)}.")
    except KafkaException as error:
        yield Finding("wrong", f"{what} does not answer: {error.args[0].str()}.")


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("good", "The settings are valid.")
    unknown = misspelt(settings.local_dir)
    if unknown:
        yield Finding("warning", f"No setting has these names, so they change nothing: {', '.join(unknown)}.")
    if settings.bootstrap_servers:
        consumer_config(settings, settings.filter_group)
        transactional_config(settings)
    if settings.pseudonym_secret is None:
        yield Finding("warning", "Numbers leave the filter as they are: set SMSIFT_PSEUDONYM_KEY_FILE to hide them.")


def _kafka(settings: Settings) -> Iterator[Finding]:
    servers = settings.require_bootstrap_servers()
    admin = client(AdminClient, {**client_config(settings), "log_level": 0})
    known = admin.list_topics(timeout=ADMIN_TIMEOUT_S)
    yield Finding("good", f"Kafka answers at {servers} with {len(known.brokers)} broker(s).")
    missing = [name for name in settings.topics.all if name not in known.topics]
    if missing:
        yield Finding("wrong", f"Topics are missing: {', '.join(missing)}; create them with `smsift topics`.")
        return
    inbound = known.topics[settings.topics.inbound]
    yield Finding("good", f"All {len(TOPICS)} topics are there; inbound has {len(inbound.partitions)} partitions.")
    yield from _durability(settings, admin, known)
    yield from _limits(settings, admin)


def _durability(settings: Settings, admin: AdminClient, known: Any) -> Iterator[Finding]:
    replicas = min(
        len(partition.replicas) for name in settings.topics.all for partition in known.topics[name].partitions.values()
    )
    in_sync = min(int(_config(admin, name)["min.insync.replicas"]) for name in settings.topics.all)
    if replicas >= DURABLE_REPLICAS and in_sync >= DURABLE_IN_SYNC:
        yield Finding("good", f"Topics have {replicas} replicas, of which {in_sync} must be in sync.")
    else:
        yield Finding(
            "warning",
            f"Topics have {replicas} replica(s) with min.insync.replicas={in_sync}: fine on one machine; in production "
            f"use {DURABLE_REPLICAS} and {DURABLE_IN_SYNC}, for the transaction log too, or a lost disk loses verdicts.",
        )


def _limits(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    room = DEAD_MAX_BYTES - INBOUND_MAX_BYTES
    inbound, dead = (_config(admin, name) for name in (settings.topics.inbound, settings.topics.dead))
    if int(dead["max.message.bytes"]) < int(inbound["max.message.bytes"]) + room:
        yield Finding(
            "wrong",
            f"{settings.topics.dead} takes smaller records than {settings.topics.inbound} plus 64 KiB: a large bad record "
            "would stop the filter; raise its max.message.bytes.",
        )
    retention_ms = int(inbound["retention.ms"])
    if retention_ms < 0 or retention_ms >= 7 * DAY_MS:
        yield Finding(
            "warning",
            f"{settings.topics.inbound} keeps records for 7 days or more, as long as Kafka keeps an idle group's "
            "offsets: a filter stopped for longer could judge records again; lower its retention.ms.",
        )


def _config(admin: AdminClient, topic: str) -> dict[str, str]:
    (answer,) = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic)], request_timeout=ADMIN_TIMEOUT_S
    ).values()
    return {name: str(entry.value) for name, entry in answer.result().items()}


def _clickhouse(settings: Settings) -> Iterator[Finding]:
    from schemas.clickhouse.migrate import applied_digests, migrations

    client = connect(settings)
    yield Finding("good", f"ClickHouse {client.server_version} answers at {settings.clickhouse_url}.")
    database = settings.clickhouse_database
    begun = client.command(f"EXISTS TABLE {database}.schema_migrations")
    applied = applied_digests(client, database) if begun else {}
    missing = [migration.name for migration in migrations() if migration.version not in applied]
    if missing:
        yield Finding("wrong", f"Migrations are not applied: {', '.join(missing)}; run `smsift migrate`.")
    else:
        yield Finding("good", f"The tables of database {settings.clickhouse_database} are up to date.")


def _model(load_model: Callable[[], Any]) -> Iterator[Finding]:
    identity = load_model().identity
    yield Finding(
        "good",
        f"Model {identity.name} {identity.version} is whole: every digest matches its manifest ({identity.digest[:12]}).",
    )
