import re
import sys

import pytest

from consumer.health import Health
from consumer.metrics import CATALOGUE, Metrics, markdown_table


def test_each_service_exposes_its_share_of_the_catalogue_and_the_process() -> None:
    for service in ("filter", "sink"):
        text = Metrics(service).exposition().decode()
        exposed = {re.sub(r"_total$", "", name) for name in re.findall(r"^# TYPE (smsift_\w+) ", text, re.MULTILINE)}
        exposed = {name for name in exposed if not name.endswith("_created")}
        assert exposed == {metric.name for metric in CATALOGUE if service in metric.services}
        assert "process_resident_memory_bytes" in text
        assert "process_cpu_seconds_total" in text


def test_a_partition_that_left_is_no_longer_reported() -> None:
    metrics = Metrics("filter")
    metrics.set("smsift_lag", 7, topic="t", partition="0")
    metrics.forget("smsift_lag", topic="t", partition="0")
    metrics.forget("smsift_lag", topic="t", partition="1")
    assert "smsift_lag{" not in metrics.exposition().decode()


def test_every_metric_says_what_it_means_and_what_to_do() -> None:
    assert all(metric.means and metric.act for metric in CATALOGUE)
    assert markdown_table().count("\n") == len(CATALOGUE) + 2


def test_a_loop_that_does_not_turn_is_not_live_and_obstacles_make_it_unready() -> None:
    now = [0.0]
    health = Health(stall_s=10, clock=lambda: now[0])
    assert health.obstacles == {"start": "starting"}
    health.cleared("start")
    health.blocked("clickhouse", "ClickHouse is away")
    assert health.obstacles == {"clickhouse": "ClickHouse is away"}
    now[0] = 9.0
    assert health.live
    now[0] = 10.0
    assert not health.live
    health.turned()
    assert health.live


class FakeNvml:
    """Two devices, as NVML reports them."""

    class NVMLError(Exception):
        pass

    class Memory:
        used = 3_000_000_000

    class Utilisation:
        gpu = 75

    def __init__(self, *, driver: bool) -> None:
        self._driver = driver

    def nvmlInit(self) -> None:
        if not self._driver:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Memory:
        return self.Memory()

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Utilisation:
        return self.Utilisation()


def test_a_gpu_is_reported_where_there_is_one_and_nothing_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics("filter")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=False))
    assert not metrics.watch_gpu()
    assert "smsift_gpu" not in metrics.exposition().decode()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=True))
    assert metrics.watch_gpu()
    text = metrics.exposition().decode()
    assert 'smsift_gpu_memory_bytes{device="1"} 3e+09' in text
    assert 'smsift_gpu_utilisation_ratio{device="0"} 0.75' in text
