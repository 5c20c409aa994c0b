"""Ask ClickHouse a question: SQL, or one of the cookbook's queries by its name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from consumer.clickhouse import connect, explain
from consumer.settings import Settings
from schemas.errors import UserError

_REASON: Final = re.compile(r"DB::Exception: (.*?)\.? \([A-Z_]+\)", re.DOTALL)
_NAME: Final = re.compile(r"[a-z_]+(\.sql)?")
_NEEDED: Final = re.compile(r"\{(\w+):\w")
_DEFAULT: Final = re.compile(r"(\w+)=(.+?) \(")
COOKBOOK: Final = Path(__file__).parents[1] / "deploy" / "clickhouse" / "queries"


def answer(settings: Settings, sql: str, form: str, parameters: Mapping[str, str]) -> str:
    """The result as text in a ClickHouse output format, read in the database of the tables.

    `parameters` fill `{name:Type}` in the SQL, bound by the server; a recipe's own defaults fill the rest.
    Raises UserError with ClickHouse's own reason where it refuses.
    """
    recipe = COOKBOOK / f"{sql.removesuffix('.sql')}.sql"
    if _NAME.fullmatch(sql):
        if not recipe.is_file():
            names = ", ".join(sorted(path.stem for path in COOKBOOK.glob("*.sql")))
            raise UserError(f"The cookbook has no query {sql}: choose one of {names}.")
        name, sql = recipe.stem, recipe.read_text(encoding="utf-8")
        parameters = {**_defaults(sql), **parameters}
        needed = sorted(set(_NEEDED.findall(sql)) - set(parameters))
        if needed:
            raise UserError(f"{name} needs {' '.join(f'--param {one}=VALUE' for one in needed)}.")
    client = connect(settings, settings.clickhouse_database)
    try:
        found = client.raw_query(sql.strip().rstrip(";"), fmt=form, parameters=dict(parameters))
        return bytes(found).decode("utf-8", "replace")
    except ClickHouseError as error:
        # Its own words, for once: they are about the SQL that was just typed.
        said = _REASON.search(str(error))
        raise UserError(f"ClickHouse refuses: {said[1] if said else explain(error)}.") from error
    finally:
        client.close()


def given(parameters: Sequence[str]) -> dict[str, str]:
    """`name=value` as typed → parameters. Raises UserError for one without a value."""
    pairs = [parameter.partition("=") for parameter in parameters]
    for name, equals, _ in pairs:
        if not equals:
            raise UserError(f"--param {name} has no value: write --param {name}=VALUE.")
    return {name: value for name, _, value in pairs}


def _defaults(sql: str) -> dict[str, str]:
    """From a recipe's line `-- Parameters: most=20 (how many), sender (…)`: those that have a value there."""
    line = next((line for line in sql.splitlines() if line.startswith("-- Parameters:")), "")
    return dict(_DEFAULT.findall(line))
