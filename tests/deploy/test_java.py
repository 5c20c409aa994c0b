"""Java, Maven and the jars: what is missing is said in one sentence, and what is here is fetched once."""

from pathlib import Path

import pytest

from deploy.local.java import Tool, find_java, find_maven, jars_folder, kafka_jars
from schemas.errors import UserError


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def java(folder: Path, version: str) -> Path:
    return program(folder, "java", f"echo 'openjdk version \"{version}\" 2021-10-19' >&2")


@pytest.mark.parametrize(("version", "major"), [("11.0.13", 11), ("1.8.0_412", 8), ("16", 16)])
def test_java_that_is_too_old_is_named_with_its_version(tmp_path: Path, version: str, major: int) -> None:
    found = find_java(search_path=str(java(tmp_path, version).parent))
    with pytest.raises(UserError, match=f"is version {major}, Kafka needs 17 or newer: install one and set JAVA_HOME"):
        found.require()


@pytest.mark.parametrize("version", ["17.0.2", "21", "25-ea"])
def test_java_of_17_or_newer_is_taken(tmp_path: Path, version: str) -> None:
    path = java(tmp_path, version)
    assert find_java(search_path=str(tmp_path)) == Tool(str(path))


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    at_home = java(tmp_path / "home" / "bin", "21.0.1")
    java(tmp_path / "path", "11.0.1")
    assert find_java(str(tmp_path / "home"), str(tmp_path / "path")).where == str(at_home)


def test_missing_java_says_what_to_install(tmp_path: Path) -> None:
    assert find_java(search_path=str(tmp_path)).why_not.startswith("No Java was found: install Java 17 or newer")


def test_java_that_does_not_run_or_tell_its_version_is_not_taken(tmp_path: Path) -> None:
    program(tmp_path, "java", "echo 'The operation could not be completed.' >&2; exit 1")  # what macOS has without Java
    assert "does not say its version" in find_java(search_path=str(tmp_path)).why_not


def test_missing_maven_says_what_to_install(tmp_path: Path) -> None:
    none = find_maven(search_path=str(tmp_path))
    with pytest.raises(UserError, match=r"No Maven was found, which fetches Kafka's jars: install Maven"):
        kafka_jars(tmp_path / "jars", maven=lambda: none)


def test_maven_that_fails_is_quoted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    mvn = program(
        tmp_path,
        "mvn",
        "echo '[ERROR] Could not resolve dependencies: Unknown host -> [Help 1]'; echo '[ERROR] Re-run'; exit 1",
    )
    with pytest.raises(UserError, match=r"jars: Could not resolve dependencies: Unknown host\.$"):
        kafka_jars(tmp_path / "jars", maven=lambda: Tool(str(mvn)))
    assert list((tmp_path / "jars").iterdir()) == []


def test_jars_are_fetched_once_for_each_pom(tmp_path: Path) -> None:
    counting = program(
        tmp_path,
        "mvn",
        f"echo x >> {tmp_path}/calls; for a; do case $a in -DoutputDirectory=*) d=${{a#*=}};; esac; done; "
        "mkdir $d; touch $d/kafka_2.13-4.jar",
    )
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    first = kafka_jars(tmp_path / "jars", lambda: Tool(str(counting)), pom)
    assert kafka_jars(tmp_path / "jars", lambda: pytest.fail("Maven was asked again"), pom) == first
    assert [jar.name for jar in first.iterdir()] == ["kafka_2.13-4.jar"]
    pom.write_text("<project><!-- newer --></project>")
    assert (
        kafka_jars(tmp_path / "jars", lambda: Tool(str(counting)), pom) == jars_folder(tmp_path / "jars", pom) != first
    )
    assert (tmp_path / "calls").read_text() == "x\nx\n"
