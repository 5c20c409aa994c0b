"""How smsift reaches ClickHouse, and what it says when ClickHouse refuses."""

from typing import Any, Final

from clickhouse_connect import get_client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from consumer.settings import Settings
from schemas.errors import UserError

CONNECT_TIMEOUT_S: Final = 5
# Below the 60 s after which a loop that does not turn counts as dead, far above what one insert takes.
ANSWER_TIMEOUT_S: Final = 30
# What does not heal by waiting, and what to do about it.
_ADVICE: Final = {
    16: "a column is missing: run `smsift migrate`",
    47: "a column is missing: run `smsift migrate`",
    60: "a table is missing: run `smsift migrate`",
    81: "the database is missing: run `smsift migrate`",
    164: "the user may only read: grant INSERT",
    192: "the user is not known: set SMSIFT_CLICKHOUSE_USER",
    193: "the password is wrong: set SMSIFT_CLICKHOUSE_PASSWORD",
    194: "a password is required: set SMSIFT_CLICKHOUSE_PASSWORD",
    241: "its memory is full",
    242: "the table is read-only: see its replica and its Keeper",
    243: "its disk is full",
    252: "it has too many parts: raise SMSIFT_SINK_LINGER_MS",
    497: "the user has no right to do that: grant it",
    516: "user or password is wrong: set SMSIFT_CLICKHOUSE_USER and SMSIFT_CLICKHOUSE_PASSWORD",
}


def connect(settings: Settings, database: str | None = None) -> Any:
    """A clickhouse-connect client, safe to use from several threads. Raises UserError where nobody answers or lets us in."""
    try:
        return get_client(
            dsn=settings.require_clickhouse_url(),
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=database,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            autogenerate_session_id=False,  # a session takes one query at a time
        )
    except (ClickHouseError, OSError) as error:
        raise UserError(f"Cannot use ClickHouse: {explain(error)}.") from error


def explain(error: Exception) -> str:
    """What went wrong, without a full stop: by ClickHouse's code and name, as its own messages may repeat row values."""
    code = getattr(error, "code", None)
    if code is None:
        if isinstance(error, OSError | OperationalError):
            return "it does not answer; see that it runs and that SMSIFT_CLICKHOUSE_URL is its address"
        return f"the client failed with {type(error).__name__}"
    name = getattr(error, "name", None)
    return f"{_ADVICE.get(code, 'it refused')} (code {code}{f', {name}' if name else ''})"
