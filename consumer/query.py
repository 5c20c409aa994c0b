"""Ask ClickHouse a question: SQL, or one of the cookbook's queries by its name."""

import re
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from consumer.clickhouse import connect, explain
from consumer.settings import Settings
from schemas.errors import UserError

_REASON: Final = re.compile(r"DB::Exception: (.*?)\.? \([A-Z_]+\)", re.DOTALL)
COOKBOOK: Final = Path(__file__).parents[1] / "deploy" / "clickhouse" / "queries"


def answer(settings: Settings, sql: str, form: str) -> str:
    """The result as text in a ClickHouse output format, read in the database of the tables.

    Raises UserError with ClickHouse's own reason where it refuses.
    """
    recipe = COOKBOOK / f"{sql.removesuffix('.sql')}.sql"
    if " " not in sql.strip() and recipe.parent == COOKBOOK and recipe.is_file():
        sql = recipe.read_text()
    client = connect(settings, settings.clickhouse_database)
    try:
        return bytes(client.raw_query(sql.strip().rstrip(";"), fmt=form)).decode("utf-8", "replace")
    except ClickHouseError as error:
        # Its own words, for once: they are about the SQL that was just typed.
        said = _REASON.search(str(error))
        raise UserError(f"ClickHouse refuses: {said[1] if said else explain(error)}.") from error
    finally:
        client.close()
