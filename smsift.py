"""smsift's front desk: one command, whose sub-commands import what they need when they are called."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from schemas.errors import UserError
from training.commands import register

if TYPE_CHECKING:
    from consumer.settings import Settings

app = typer.Typer(
    name="smsift",
    help="Streaming SMS spam filter: Kafka in, one transformer verdict per message out, exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> NoReturn:
    """Run a command. A UserError is one sentence on stderr and exit code 2; only a defect shows a traceback."""
    logging.getLogger("smsift").addHandler(logging.NullHandler())  # heard where a command configures logs
    try:
        try:
            app()
        finally:  # here, not when the interpreter ends and nobody can handle what goes wrong
            sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        sys.stdout = None  # nothing is left to flush to
    sys.exit(0)


def fail(sentence: str) -> NoReturn:
    print(f"smsift: {sentence}", file=sys.stderr)
    sys.exit(2)


def settings_with_logs(**overrides: Any) -> "Settings":
    """Settings for a service: its logs go where they say."""
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings(**overrides)
    configure_logs(settings)
    return settings


def end(code: int) -> NoReturn:
    raise typer.Exit(code)


# --- services


@app.command("filter", rich_help_panel="Services")
def filter_(
    start: Annotated[
        str | None, typer.Option(help="Where a partition without an offset starts: earliest, latest")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model folder; default: the champion, else the shipped one")] = None,
    transactional_id: Annotated[str | None, typer.Option(help="Stable id of this replica")] = None,
    http_port: Annotated[int | None, typer.Option(help="Serve /livez, /readyz and /metrics there; 0: any")] = None,
    classifier: Annotated[str, typer.Option(help="model, or null: everything is ham, to measure the rest")] = "model",
) -> None:
    """Judge every message of the inbound topic: run as many as there are partitions."""
    settings = settings_with_logs(start=start, model=model, transactional_id=transactional_id, http_port=http_port)
    from consumer.filter import run

    end(run(settings, lambda: load_classifier(settings, classifier)))


def load_classifier(settings: "Settings", kind: str = "model") -> Any:
    from consumer.classifier import load
    from consumer.classifier.models_folder import chosen
    from consumer.classifier.null import Null

    if kind == "null":
        return Null()
    if kind != "model":
        raise UserError("--classifier must be model or null.")
    folder = chosen(settings.model, settings.models_folder, settings.models_cache)
    return load(folder, base=settings.base, device=settings.device, threads=settings.threads or None)


@app.command(rich_help_panel="Services")
def sink(
    http_port: Annotated[int | None, typer.Option(help="Serve /livez, /readyz and /metrics there; 0: any")] = None,
) -> None:
    """Write verdicts, dead letters and labels to ClickHouse."""
    settings = settings_with_logs(http_port=http_port)
    from consumer.sink import run

    end(run(settings))


# --- the local stack


@app.command(rich_help_panel="Local stack")
def up() -> None:
    """Start Kafka and ClickHouse on this machine, with the topics and tables; they stay until `smsift down`."""
    from consumer.kafka_clients import ensure_topics
    from consumer.settings import load_settings
    from deploy.local import stack

    stack.up(load_settings(), say=print)
    settings = load_settings()  # again: the stack has published its addresses
    ensure_topics(settings)
    make_tables(settings)
    status()


@app.command(rich_help_panel="Local stack")
def down() -> None:
    """Stop what `smsift up` started; its data stays."""
    from consumer.settings import load_settings
    from deploy.local import stack

    print("The stack is down." if stack.down(load_settings()) else "No stack was up.")


@app.command(rich_help_panel="Local stack")
def status() -> None:
    """Say what of the local stack runs, and where."""
    from consumer.settings import load_settings
    from deploy.local import stack

    now = stack.status(load_settings())
    if now.addresses is None:
        print("The stack is down; `smsift up` starts it.")
        return
    print(f"Kafka       {now.addresses.bootstrap_servers}  ({now.addresses.broker})")
    print(f"ClickHouse  {now.addresses.clickhouse_url}  ({now.addresses.clickhouse})")
    if now.silent:
        fail(f"{' and '.join(now.silent)} does not answer: stop the stack with `smsift down` and start it again.")


@app.command(rich_help_panel="Local stack")
def demo(
    count: Annotated[int, typer.Option(min=1, help="Messages to send")] = 3000,
    rate: Annotated[float, typer.Option(min=0.1, help="Messages per second")] = 100.0,
    filters: Annotated[int, typer.Option(min=1, help="Filters in the consumer group")] = 2,
    corpus: Annotated[str | None, typer.Option(help="Labelled file or hub data set id; default: built-in")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same messages")] = 7,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running to explore")] = False,
) -> None:
    """Watch messages flow through a real broker, a real model and a real ClickHouse engine, and check every one."""
    from consumer.settings import load_settings
    from deploy.local.demo import Plan, run_demo

    plan = Plan(count=count, rate=rate, filters=filters, corpus=corpus, seed=seed, keep=keep)
    end(run_demo(load_settings(), plan))


@app.command(rich_help_panel="Local stack")
def topics() -> None:
    """Create the topics that are missing."""
    from consumer.kafka_clients import ensure_topics
    from consumer.settings import load_settings

    created = ensure_topics(load_settings())
    print("\n".join(f"created {name}" for name in created) or "all topics are there")


@app.command(rich_help_panel="Local stack")
def migrate() -> None:
    """Bring ClickHouse's tables and views up to date."""
    from consumer.settings import load_settings

    applied = make_tables(load_settings())
    print("\n".join(f"applied {name}" for name in applied) or "all migrations are applied")


def make_tables(settings: "Settings") -> list[str]:
    from consumer.clickhouse import connect
    from schemas.clickhouse.migrate import migrate as apply

    return apply(connect(settings), settings.clickhouse_database)


# --- messages and verdicts


@app.command(rich_help_panel="Messages and verdicts")
def simulate(
    count: Annotated[int | None, typer.Option(min=1, help="Messages to send")] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Seconds to send for")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Messages per second")] = 100.0,
    corpus: Annotated[str | None, typer.Option(help="Labelled file or hub data set id; default: built-in")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text, where it cannot be guessed")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, where it cannot be guessed")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same messages")] = 7,
    run: Annotated[str | None, typer.Option(help="Part of every event id; default: a new one each time")] = None,
    malformed: Annotated[float, typer.Option(min=0, max=1, help="Share of malformed records")] = 0.0,
    labels: Annotated[bool, typer.Option(help="Publish the true labels too")] = True,
) -> None:
    """Publish labelled traffic to the inbound topic."""
    import uuid

    from producer_sim import traffic
    from producer_sim.corpus import open_corpus

    settings = settings_with_logs()
    plan = traffic.Plan(
        rate=rate, count=count, duration_s=duration, seed=seed, run=run or uuid.uuid4().hex[:8], malformed=malformed
    )
    with traffic.stopped_by_signals() as stop:
        report = traffic.simulate(
            plan,
            open_corpus(corpus, seed, text_column, label_column),
            settings.require_bootstrap_servers(),
            settings.topics,
            {**settings.kafka, **settings.kafka_producer},
            label_quality=1.0 if labels else None,
            stop=stop,
        )
    print(
        f"simulate: sent={report.sent} failed={report.failed} malformed={report.malformed} labels={report.labels} "
        f"seconds={report.seconds:.1f} rate={report.rate:.1f}"
    )
    end(1 if report.failed or report.labels_failed else 0)


@app.command(rich_help_panel="Messages and verdicts")
def classify(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; none: one a line from stdin")] = None,
    model: Annotated[str | None, typer.Option(help="Model folder; default: the champion, else the shipped one")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line")] = False,
) -> None:
    """Judge texts here and now, without Kafka."""
    from consumer.classify import lines
    from consumer.settings import load_settings

    settings = load_settings(model=model)
    given = texts or (line.rstrip("\n") for line in sys.stdin)
    for line in lines(load_classifier(settings), given, json_lines=json_lines):
        print(line, flush=True)


@app.command(rich_help_panel="Messages and verdicts")
def tail(
    topic: Annotated[str, typer.Argument(help="spam, ham, dead, labels or alerts")],
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="From the oldest record, not from now on")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="The records as they are, one a line")] = False,
) -> None:
    """Follow a topic, reading only what is committed."""
    from consumer.settings import load_settings
    from consumer.tail import follow

    follow(load_settings(), topic, count=count, from_start=from_start, json_lines=json_lines)


@app.command(rich_help_panel="Messages and verdicts")
def query(
    sql: Annotated[str, typer.Argument(help="SQL, or the name of a query of the cookbook; - reads stdin")],
    param: Annotated[list[str] | None, typer.Option(help="name=value for {name:Type} in the SQL; repeat")] = None,
    form: Annotated[
        str, typer.Option("--format", help="PrettyCompact, JSONEachRow, CSVWithNames, …")
    ] = "PrettyCompact",
) -> None:
    """Ask ClickHouse."""
    from consumer.query import answer, given
    from consumer.settings import load_settings

    print(answer(load_settings(), sys.stdin.read() if sql == "-" else sql, form, given(param or [])), end="")


# --- models and checks


@app.command(rich_help_panel="Models and checks")
def corpus(
    out: Annotated[Path, typer.Argument(help="JSONL file to write")],
    count: Annotated[int, typer.Option(min=1, help="Messages to draw")] = 10_000,
    forms: Annotated[Literal["all", "train", "test"], typer.Option(help="Which templates to draw from")] = "all",
    spam_share: Annotated[float, typer.Option(min=0, max=1, help="Share of spam")] = 0.14,
    seed: Annotated[int, typer.Option(help="Same seed, same messages")] = 7,
) -> None:
    """Write draws of the built-in corpus as a labelled file, to train or evaluate on."""
    import json

    from producer_sim.corpus import generate

    try:
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error.strerror}.") from error
    with file:
        for message in generate(seed, count, forms, spam_share):
            row = {"text": message.text, "label": message.label, "category": message.category, "form": message.form}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"wrote {count} messages to {out}")


@app.command(rich_help_panel="Models and checks")
def bench(
    what: Annotated[Literal["pipeline"], typer.Argument(help="What to measure")],  # noqa: ARG001 - the first of several
    classifier: Annotated[str, typer.Option(help="model, or null: everything is ham")] = "null",
    messages: Annotated[int, typer.Option(min=1000, help="Messages in each case")] = 200_000,
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved repetitions; the median counts")] = 3,
    json_lines: Annotated[bool, typer.Option("--json", help="JSON Lines")] = False,
) -> None:
    """Measure throughput beside a peer in the same run."""
    from consumer.settings import load_settings

    sys.path.insert(0, str(Path(__file__).parent))  # the benchmarks lie with the tests, which are not installed
    try:
        from tests.bench import pipeline
    except ModuleNotFoundError as error:
        raise UserError("The benchmarks are part of the repository: run this in a checkout.") from error
    settings = load_settings()
    report = pipeline.run(settings, lambda: load_classifier(settings, classifier), messages=messages, repeats=repeats)
    print("\n".join(report.json_lines() if json_lines else report.table()))


@app.command(rich_help_panel="Models and checks")
def doctor() -> None:
    """Check settings, broker, topics, ClickHouse and model, each with a sentence."""
    from consumer.doctor import examine
    from consumer.settings import load_settings

    settings = load_settings()
    wrong = False
    for finding in examine(settings, lambda: load_classifier(settings)):
        print(finding, flush=True)
        wrong |= finding.level == "wrong"
    end(1 if wrong else 0)


register(app)

if __name__ == "__main__":
    main()
