"""One Kafka broker in KRaft mode on loopback, with the settings that one node needs."""

import contextlib
import fcntl
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.leash import Leashed
from deploy.local.ports import LOOPBACK, free_port, require_free
from deploy.local.waiting import wait_until
from schemas.errors import UserError
from schemas.topics import DEAD_MAX_BYTES

START_TIMEOUT_S: Final = 90.0  # two to four seconds on two idle cores; a busy or cold machine takes longer
MIN_FREE_BYTES: Final = 512 * 1024 * 1024  # KRaft's and the internal topics' first segments, and some traffic
_ATTEMPTS: Final = 3  # another program may take a free port between our look and the broker's bind
_LOG4J: Final = Path(__file__).with_name("log4j2.xml")
_NODE_ID: Final = 1
_IN_USE: Final = "Another broker uses {}: stop it, with `smsift down` if it belongs to smsift."


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answers."""

    process: Leashed
    bootstrap_servers: str


def start_broker(
    java: str, jars: Path, data: Path, port: int | None = None, min_free_bytes: int = MIN_FREE_BYTES
) -> Broker:
    """Start a broker whose topics live under `data`, and return when it answers.

    A folder used before keeps its topics and offsets, whatever the port. Raises UserError with the reason.
    """
    data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data).free
    if free < min_free_bytes:
        raise UserError(
            f"Kafka needs {min_free_bytes / 1e6:.0f} MB of free disk in {data} and finds {free / 1e6:.0f}: "
            "free some, or set SMSIFT_LOCAL_DIR to a folder on another disk."
        )
    _require_unused(data)
    for attempt in range(1, _ATTEMPTS + 1):
        chosen = require_free(port, "Kafka") if port else free_port()
        broker = _attempt(java, jars, data, chosen)
        if broker is not None:
            return broker
        if port or attempt == _ATTEMPTS:
            break
    raise UserError(f"Kafka found port {chosen} taken when it started: try again, or choose another port.")


def _attempt(java: str, jars: Path, data: Path, port: int) -> Broker | None:
    """One start; None where another program took a port in between. Raises UserError for any other failure."""
    properties, log = data / "server.properties", data / "broker.log"
    properties.write_text(server_properties(data / "topics", port, free_port()))
    log.unlink(missing_ok=True)  # so that a reason read from it belongs to this start
    classpath = f"{jars}/*"
    if not (data / "topics" / "meta.properties").is_file():
        _format(java, classpath, properties)
    process = Leashed(
        [
            java,
            # Half a gigabyte carries hundreds of partitions; the serial collector has the smallest footprint.
            *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"),
            # The second compiler takes half a core for the first minute, which is all that a demo or a test lives.
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
            f"-Dsmsift.kafka.log={log}",
            *("-cp", classpath, "kafka.Kafka", str(properties)),
        ],
        log=data / "broker.out",
    )
    address = f"{LOOPBACK}:{port}"
    try:
        if wait_until(lambda: answers(address), START_TIMEOUT_S, unless=lambda: process.exit_code is not None):
            return Broker(process, address)
    except BaseException:
        process.stop()
        raise
    ended = process.exit_code is not None
    process.stop()
    _raise_unless_port_taken(data, log, ended=ended)
    return None


def _require_unused(data: Path) -> None:
    """Look at the lock that Kafka holds, before anything is touched: a second broker may read half-written records
    before it comes to look at the lock itself.
    """
    with contextlib.suppress(FileNotFoundError), (data / "topics" / ".lock").open("r+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kind of lock that Java takes
        except OSError:
            raise UserError(_IN_USE.format(data)) from None


def server_properties(topics: Path, port: int, controller_port: int) -> str:
    """The configuration of a broker and controller in one process."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": _NODE_ID,
        # A static voter: its port may differ at each start, which a quorum written into the folder would not survive.
        "controller.quorum.voters": f"{_NODE_ID}@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": topics,
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": 1,
        # Internal topics: one copy, since there is one node; few partitions, since each costs open files and start time.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A group of one machine has its members at once, and a crashed one is to be noticed while somebody watches.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.session.timeout.ms": 10_000,
        "group.consumer.min.heartbeat.interval.ms": 500,
        "group.consumer.heartbeat.interval.ms": 1000,
        # A transaction that its producer left open holds up readers until the next look: one second, not ten.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # After a crash the controller keeps the place of the dead broker, itself, for a session: four seconds, not nine.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        "message.max.bytes": DEAD_MAX_BYTES,  # the largest that any topic of smsift takes
        # Less memory and fewer threads than the defaults, which are meant for a machine of its own.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def answers(bootstrap_servers: str, timeout_s: float = 1.0) -> bool:
    """Whether a broker answers a metadata request there."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 100})
    try:
        return bool(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def _format(java: str, classpath: str, properties: Path) -> None:
    """Write the cluster id into a new folder, as every KRaft node needs once."""
    tool = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath]
    tool.append("kafka.tools.StorageTool")
    cluster = "c21zaWZ0LWxvY2FsLTEwMA"  # any 16 bytes in base64: one broker, never to meet another
    command = [*tool, "format", "--cluster-id", cluster, "--config", str(properties)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
    if answer.returncode != 0:
        said = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        raise UserError(
            f"Kafka could not format its folder {properties.parent}: {said[-1] if said else 'no reason given'}."
        )


def _raise_unless_port_taken(data: Path, log: Path, *, ended: bool) -> None:
    """Turn what the broker wrote before it gave up into a sentence; where only a port was in the way, return."""
    text = "".join(path.read_text(errors="replace") for path in (log, data / "broker.out") if path.is_file())
    if "BindException" in text or "Address already in use" in text:
        return
    if "No space left on device" in text:
        raise UserError(f"Kafka's disk is full: free some space in {data}, or set SMSIFT_LOCAL_DIR to another folder.")
    if "Failed to acquire lock" in text:
        raise UserError(_IN_USE.format(data))
    if not ended:
        raise UserError(f"Kafka did not answer within {START_TIMEOUT_S:.0f} s: the machine may be busy; see {log}.")
    reasons = re.findall(r"^(?:Caused by: )?[\w.]+(?:Exception|Error): (.+)$", text, re.MULTILINE)
    raise UserError(f"Kafka ended while it started: {reasons[-1] if reasons else 'it gave no reason'}; see {log}.")
