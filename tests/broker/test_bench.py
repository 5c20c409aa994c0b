"""The benchmark runs and speaks its format; what it measures is nobody's business here."""

import json

from consumer.classifier.null import Null
from consumer.settings import load_settings
from tests.bench import pipeline
from tests.stack import TestKafka


def test_the_pipeline_benchmark_prints_a_line_on_the_machine_and_one_per_case(kafka: TestKafka) -> None:
    settings = load_settings(bootstrap_servers=kafka.bootstrap_servers)
    report = pipeline.run(settings, Null, messages=2000, repeats=1)
    machine, *cases = [json.loads(line) for line in report.json_lines()]
    assert {"cpu", "versions", "commit", "model_digest"} <= set(machine)
    assert all(set(case) == {"bench", "case", "metric", "value", "unit", "peer", "ratio"} for case in cases)
    assert {case["case"] for case in cases if case["ratio"]} == {
        f"filter, {batch} a transaction" for batch in pipeline.BATCHES
    }
    assert len(list(report.table())) == 2 + len(cases)
