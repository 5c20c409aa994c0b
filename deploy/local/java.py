"""Java, Maven, and the broker's jars that the two fetch once."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import UserError

JAVA_NEEDED: Final = 17  # Kafka 4's brokers need it
POM: Final = Path(__file__).with_name("pom.xml")
_MAVEN_TIMEOUT_S: Final = 600.0  # 44 MB of jars on a slow line


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that was looked for: where it is, or, with None, a sentence that says why it cannot be used."""

    where: str | None
    why_not: str = ""

    @property
    def found(self) -> bool:
        return self.where is not None

    def require(self) -> str:
        if self.where is None:
            raise UserError(self.why_not)
        return self.where


def find_java(java_home: str | None = None, search_path: str | None = None) -> Tool:
    """Java 17 or newer: `java_home`'s, else the first on `search_path`; by default the machine's JAVA_HOME and PATH.

    A Java that is too old is not skipped in favour of a later one on the path: which one runs must not surprise.
    """
    if java_home is None and search_path is None:
        java_home = os.environ.get("JAVA_HOME")  # like PATH the machine's own, no setting of smsift
    inside_home = Path(java_home) / "bin" / "java" if java_home else None
    on_path = shutil.which("java", path=search_path)
    found = inside_home if inside_home and inside_home.is_file() else Path(on_path) if on_path else None
    if found is None:
        return Tool(None, f"No Java was found: install Java {JAVA_NEEDED} or newer, or set JAVA_HOME to one.")
    try:
        answer = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Tool(None, f"Java at {found} does not run ({error}): install Java {JAVA_NEEDED} or newer.")
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)  # 1.8.0_412 is Java 8
    if version is None:
        return Tool(None, f"Java at {found} does not say its version: install Java {JAVA_NEEDED} or newer.")
    if int(version[1]) < JAVA_NEEDED:
        return Tool(
            None,
            f"Java at {found} is version {version[1]}, Kafka needs {JAVA_NEEDED} or newer: "
            "install one and set JAVA_HOME to it.",
        )
    return Tool(str(found))


def find_maven(search_path: str | None = None) -> Tool:
    """`mvn` on the path."""
    found = shutil.which("mvn", path=search_path)
    if found is None:
        return Tool(None, "No Maven was found, which fetches Kafka's jars: install Maven so that `mvn` is on the PATH.")
    return Tool(found)


def jars_folder(cache: Path, pom: Path = POM) -> Path:
    """Where the jars that `pom` names lie, or will: the digest gives a new Kafka version a new folder."""
    return cache / hashlib.sha256(pom.read_bytes()).hexdigest()[:12]


def kafka_jars(cache: Path, maven: Callable[[], Tool] = find_maven, pom: Path = POM) -> Path:
    """The folder of the broker's jars under `cache`, fetched on the first call (44 MB) and only then.

    Renamed into place when whole, so that a download cut short leaves nothing behind that looks like one.
    Raises UserError without Maven or when it fails.
    """
    whole = jars_folder(cache, pom)
    if whole.is_dir():
        return whole
    mvn = maven().require()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        shutil.copy(pom, scratch)  # Maven may write beside its pom
        fetched = Path(scratch) / "jars"
        command = [mvn, "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
        try:
            answer = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"Maven could not fetch Kafka's jars: {error}.") from error
        if answer.returncode != 0 or not any(fetched.glob("kafka_*.jar")):
            raise UserError(f"Maven could not fetch Kafka's jars: {_first_error(answer.stdout + answer.stderr)}")
        with contextlib.suppress(OSError):  # another process was faster: its folder is as good
            fetched.rename(whole)
    if not whole.is_dir():
        raise UserError(f"Kafka's jars could not be put into {cache}: is the disk full or the folder read-only?")
    return whole


def _first_error(output: str) -> str:
    """Maven's first error line says what failed; those after it say how to read more."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("[ERROR]").strip() for line in lines if line.startswith("[ERROR]")]
    said = (errors or lines or ["it said nothing"])[0]
    return said.split(" -> [Help")[0].rstrip(".") + "."
