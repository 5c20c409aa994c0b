"""Brings a ClickHouse database up to the tables and views that smsift reads and writes.

Every statement is idempotent (IF NOT EXISTS, OR REPLACE) and a table of versions remembers what was applied, so running
twice or from two processes at once ends in the same place.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.errors import UserError

FOLDER: Final = Path(__file__).parent
_FILE_NAME: Final = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_DATABASE: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
# Two processes that start together both insert a version; the engine keeps one row of each.
_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS {database}.schema_migrations
(
    version UInt32 COMMENT 'Number of the migration',
    name String COMMENT 'Its file name',
    digest String COMMENT 'sha256 of the file as it was applied, hexadecimal',
    applied_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When it was first applied'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Migrations that have been applied'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its statements run in order, `{database}` stands for the database's name."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, database: str) -> list[str]:
        """A statement ends with a semicolon at the end of a line; `--` comments are whole lines."""
        code = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("--"))
        pieces = (piece.strip() for piece in re.split(r";[ \t]*(?:\n|$)", code))
        return [piece.replace("{database}", database) for piece in pieces if piece]


def migrate(client: Any, database: str, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing to `database`, creating it, and return the names of the migrations applied now.

    `client` is a clickhouse-connect client, whose own default database must exist if it names one. Raises UserError for a name that is not an identifier, and for a migration
    that was applied and has been changed since: a change is a new migration.
    """
    check_database_name(database)
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    client.command(_VERSIONS.replace("{database}", database).strip())
    applied = applied_digests(client, database)
    done = []
    for migration in migrations(folder):
        digest = applied.get(migration.version)
        if digest == migration.digest:
            continue
        if digest is not None:
            raise UserError(
                f"Migration {migration.name} was applied to {database} and has been changed since: "
                "restore the file and put the change into a new migration."
            )
        for statement in migration.statements(database):
            client.command(statement)
        client.insert(
            "schema_migrations",
            [[migration.version, migration.name, migration.digest]],
            column_names=["version", "name", "digest"],
            database=database,
        )
        done.append(migration.name)
    return done


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """The migrations of a folder in order. Raises UserError where a number is used twice."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise UserError(f"Migration {path.name} has a wrong name: call it 0001_what_it_makes.sql.")
        version = int(match[1])
        if version in found:
            raise UserError(f"Migrations {found[version].name} and {path.name} have the same number: renumber one.")
        found[version] = Migration(version, path.name, path.read_text(encoding="utf-8"))
    return list(found.values())


def applied_digests(client: Any, database: str) -> dict[int, str]:
    """Digest by version, as the database remembers them; `database` must have been checked."""
    rows = client.query(f"SELECT version, digest FROM {database}.schema_migrations FINAL").result_rows  # noqa: S608
    return {int(version): str(digest) for version, digest in rows}


def check_database_name(database: str) -> None:
    """Raises UserError unless the name can stand in a statement as it is."""
    if not _DATABASE.match(database):
        raise UserError(
            "The ClickHouse database's name must be letters, digits and underscores, not starting with a digit."
        )
