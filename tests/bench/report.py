"""The one format of all benchmarks: a first line about the machine, then one line a measured case."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

LIBRARIES: Final = ("confluent-kafka", "clickhouse-connect", "chdb", "pydantic", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Case:
    """One measured number; `ratio` is to `peer`, measured in the same run."""

    bench: str
    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark found, and on what."""

    sizes: Mapping[str, int]
    model_digest: str | None
    cases: list[Case]

    def json_lines(self) -> Iterator[str]:
        yield json.dumps({**machine(), "model_digest": self.model_digest, **self.sizes})
        yield from (json.dumps(asdict(case)) for case in self.cases)

    def table(self) -> Iterator[str]:
        about = machine()
        sizes = ", ".join(f"{name} {value:,}" for name, value in self.sizes.items())
        yield f"{about['cpu']}, {about['cores']} cores; {sizes}"
        yield f"{'case':34} {'metric':14} {'value':>12} {'unit':12} {'ratio':>7} to"
        for case in self.cases:
            ratio = "" if case.ratio is None else f"{case.ratio:.2f}"
            yield f"{case.case:34} {case.metric:14} {case.value:12,.2f} {case.unit:12} {ratio:>7} {case.peer or ''}".rstrip()


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return answer.stdout.strip() or None
