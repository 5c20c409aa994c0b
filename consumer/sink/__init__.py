"""Verdicts, dead letters and labels from Kafka into ClickHouse, each record one row whatever dies on the way."""

from consumer.sink.service import run

__all__ = ["run"]
