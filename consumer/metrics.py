"""The catalogue of metrics: what each one means and what to do about it. The README's table is made from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

Service = Literal["filter", "sink"]
Kind = Literal["counter", "gauge", "histogram"]

# Powers of about 2.5 between one millisecond and a minute.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES: Final = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536)


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One metric: `means` says what it counts, `act` what an operator does when it looks wrong."""

    name: str
    kind: Kind
    services: tuple[Service, ...]
    means: str
    act: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


BOTH: Final = ("filter", "sink")
CATALOGUE: Final = (
    MetricDef(
        "smsift_records",
        "counter",
        ("filter",),
        "records of the inbound topic whose outcome is committed, by outcome (spam, ham, dead)",
        "flat while lag grows: look at readiness and at smsift_transaction_aborts",
        ("outcome",),
    ),
    MetricDef(
        "smsift_dead_letters",
        "counter",
        ("filter",),
        "committed dead letters by reason",
        "a producer's reason (not_json, bad_field, …): tell the producer; classifier_failed: look at the model",
        ("reason",),
    ),
    MetricDef(
        "smsift_halted",
        "gauge",
        ("filter",),
        "1 while the filter has paused itself because of faults of its own making",
        "roll the deploy or model back, then restart; nothing is lost meanwhile",
    ),
    MetricDef(
        "smsift_batch_messages",
        "histogram",
        ("filter",),
        "messages in a micro-batch",
        "always small under load: raise SMSIFT_BATCH_TOKENS or SMSIFT_LINGER_MS",
        buckets=SIZES,
    ),
    MetricDef(
        "smsift_classify_seconds",
        "histogram",
        ("filter",),
        "time the model took for a micro-batch",
        "growing at equal batch size: the cores or the GPU are shared with something",
        buckets=SECONDS,
    ),
    MetricDef(
        "smsift_transaction_seconds",
        "histogram",
        ("filter",),
        "time from begin to committed, for one micro-batch",
        "above a second: the transaction coordinator is slow or far away",
        buckets=SECONDS,
    ),
    MetricDef(
        "smsift_transaction_aborts",
        "counter",
        ("filter",),
        "transactions aborted and read again",
        "a few in a rebalance are normal; a steady rate is not: see the log for the broker's reason",
    ),
    MetricDef(
        "smsift_verdict_latency_seconds",
        "histogram",
        ("filter",),
        "from the inbound record's timestamp to its committed verdict",
        "above target with low lag: lower SMSIFT_LINGER_MS; with high lag: add members or a faster engine",
        buckets=SECONDS,
    ),
    MetricDef(
        "smsift_dropped_records",
        "counter",
        BOTH,
        "records dropped before the commit because their partition had left this member; the new owner handles them",
        "only during rebalances; steady: members are being expelled, see max.poll.interval.ms",
    ),
    MetricDef(
        "smsift_buffered_messages",
        "gauge",
        BOTH,
        "records read and not yet committed",
        "at its bound while lag grows: this member is saturated",
    ),
    MetricDef(
        "smsift_paused",
        "gauge",
        BOTH,
        "1 while consumption is paused because the work behind it is full",
        "steady: add members, or for the sink look at ClickHouse",
    ),
    MetricDef(
        "smsift_assigned_partitions",
        "gauge",
        BOTH,
        "partitions this member owns",
        "0 for long: more members than partitions, or the group does not settle",
    ),
    MetricDef(
        "smsift_rebalances", "counter", BOTH, "changes of the assignment", "steady: members come and go; see why"
    ),
    MetricDef(
        "smsift_lag",
        "gauge",
        BOTH,
        "records of the owned partitions that are not yet committed",
        "growing: arrivals exceed capacity; add members up to the number of partitions",
        ("topic", "partition"),
    ),
    MetricDef(
        "smsift_rows",
        "counter",
        ("sink",),
        "rows that ClickHouse has acknowledged, by table",
        "flat while smsift_lag grows: see smsift_clickhouse_up",
        ("table",),
    ),
    MetricDef(
        "smsift_insert_seconds",
        "histogram",
        ("sink",),
        "time of one insert",
        "growing: too many parts or too small inserts; raise SMSIFT_SINK_LINGER_MS",
        buckets=SECONDS,
    ),
    MetricDef(
        "smsift_insert_failures",
        "counter",
        ("sink",),
        "inserts that failed and will be tried again with the same token",
        "see the log for ClickHouse's reason",
    ),
    MetricDef(
        "smsift_clickhouse_up",
        "gauge",
        ("sink",),
        "1 while ClickHouse takes inserts, 0 while the sink backs off",
        "0: bring ClickHouse back; verdicts go on and rows follow",
    ),
    MetricDef(
        "smsift_unparsed_records",
        "counter",
        ("sink",),
        "records on the verdict or label topics that are not what they should be; kept as rows of dead_letters",
        "somebody else writes to these topics: check the ACLs",
    ),
    MetricDef(
        "smsift_lost_intents",
        "counter",
        ("sink",),
        "batches whose announced range could no longer be read; the row key still removes duplicates",
        "retention of the verdict topics is shorter than the sink's downtime",
    ),
)


class Metrics:
    """The metrics of one service in a registry of their own, with the process's CPU and memory beside them."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        for definition in CATALOGUE:
            if service in definition.services:
                self._metrics[definition.name] = _make(definition, self.registry)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        metric = self._metrics[name]
        assert isinstance(metric, Counter)
        (metric.labels(**labels) if labels else metric).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        metric = self._metrics[name]
        assert isinstance(metric, Gauge)
        (metric.labels(**labels) if labels else metric).set(value)

    def observe(self, name: str, value: float) -> None:
        metric = self._metrics[name]
        assert isinstance(metric, Histogram)
        metric.observe(value)

    def forget(self, name: str, **labels: str) -> None:
        """Drop a labelled series, such as the lag of a partition that another member owns now."""
        metric = self._metrics[name]
        if tuple(labels.values()) in metric._metrics:  # noqa: SLF001 - the library has no public way to ask
            metric.remove(*labels.values())

    def watch_gpu(self) -> bool:
        """Add memory and utilisation of every CUDA device; False, and nothing added, where there is no driver."""
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        self.registry.register(_GpuCollector(pynvml))
        return True

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


def _make(definition: MetricDef, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    arguments = (definition.name, definition.means, definition.labels)
    if definition.kind == "counter":
        return Counter(*arguments, registry=registry)
    if definition.kind == "gauge":
        return Gauge(*arguments, registry=registry)
    return Histogram(*arguments, registry=registry, buckets=definition.buckets)


class _GpuCollector:
    """Asks NVML at each scrape."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def collect(self) -> Iterator[Family]:
        memory = GaugeMetricFamily("smsift_gpu_memory_bytes", "GPU memory in use", labels=["device"])
        busy = GaugeMetricFamily("smsift_gpu_utilisation_ratio", "share of time the GPU was busy", labels=["device"])
        for index in range(self._nvml.nvmlDeviceGetCount()):
            device = self._nvml.nvmlDeviceGetHandleByIndex(index)
            memory.add_metric([str(index)], self._nvml.nvmlDeviceGetMemoryInfo(device).used)
            busy.add_metric([str(index)], self._nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
        yield memory
        yield busy


def markdown_table() -> str:
    """The catalogue as the README shows it."""
    lines = ["| metric | kind | labels | what it means | what to do |", "|---|---|---|---|---|"]
    for metric in CATALOGUE:
        name = metric.name + ("_total" if metric.kind == "counter" else "")
        lines.append(f"| `{name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.means} | {metric.act} |")
    return "\n".join(lines) + "\n"
