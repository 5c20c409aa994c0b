"""The sink as a service: its clients, its health server, its signals."""

import logging
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException

from consumer.collector import calm_garbage_collector
from consumer.health import Health, serving
from consumer.kafka_clients import client, consumer_config
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.signals import EXIT_RESTART, stop_on_signals
from consumer.sink.flight import BatchWriter
from consumer.sink.sink import Sink
from consumer.sink.writer import Writer

COLLECTOR: Final = (200_000, 50, 100)  # rows wait for their insert by the ten thousand

log = logging.getLogger("smsift.sink")


def run(settings: Settings) -> int:
    """Run a sink until SIGTERM or SIGINT and return the exit code: 0, or 1 where a restart can go on.

    ClickHouse need not be there: the sink waits for it. Raises UserError where settings, broker or topics are not as
    they must be.
    """
    calm_garbage_collector(*COLLECTOR)
    stop = stop_on_signals()
    metrics = Metrics("sink")
    health = Health(settings.stall_s)
    sink = assemble(settings, metrics=metrics, health=health)
    with serving(settings, health, metrics):
        try:
            sink.run(stop)
        except KafkaException as failed:
            log.error("ended, for a restart to go on: %s", failed)  # noqa: TRY400 - its place says nothing
            return EXIT_RESTART
    log.info("stopped")
    return 0


def assemble(
    settings: Settings,
    *,
    metrics: Metrics,
    health: Health,
    consumer: Consumer | None = None,
    writer: BatchWriter | None = None,
) -> Sink:
    """A sink with clients as the settings say, or with those that are given. Raises UserError where a setting is missing."""
    return Sink(
        settings,
        consumer=consumer or client(Consumer, sink_consumer_config(settings)),
        writer=writer or Writer(settings),
        metrics=metrics,
        health=health,
    )


def sink_consumer_config(settings: Settings) -> dict[str, Any]:
    """A new group starts with the oldest record, and so does one whose offset has expired: a row can be replaced."""
    return consumer_config(settings, settings.sink_group, **{"auto.offset.reset": "earliest"})
