"""Who writes to whom: senders with Zipf popularity, of three kinds, and recipients; all numbers are fictional."""

from __future__ import annotations

import random
from bisect import bisect
from itertools import accumulate
from typing import Final

from schemas.corpus import Message
from schemas.errors import UserError

# 555-0100 to 555-0199 under each area code from 201 to 989 is kept for fiction.
AREAS: Final = range(201, 990)
NUMBERS: Final = len(AREAS) * 100
ZIPF_EXPONENT: Final = 1.07  # a few senders write much, most write little
PERSONAL: Final = frozenset({"personal", "work"})
SYLLABLES: Final = ("BA", "CO", "DI", "FE", "GRA", "HO", "KI", "LU", "MA", "NO", "PRI", "QUE", "RO", "STA", "TEL", "VE")


class Population:
    """A fixed set of senders and recipients, the same for the same seed.

    People send what is personal, services (alphanumeric ids, short codes) what is printed; spammers are a tenth of all
    senders and send only spam, mostly from numbers.
    """

    def __init__(self, seed: int, senders: int = 2_000, recipients: int = 10_000) -> None:
        """Raises UserError where there are not enough fictional numbers."""
        if senders < 10 or recipients < 1 or senders + recipients > NUMBERS:
            raise UserError(f"The simulator has {NUMBERS} numbers: use at least 10 senders and fewer than that in all.")
        order = random.Random(f"population {seed}")
        numbers = [_number(index) for index in order.sample(range(NUMBERS), senders + recipients)]
        self._recipients = numbers[senders:]
        services, spammers = max(1, senders // 10), max(1, senders // 10)
        people = senders - services - spammers
        self._people = _Pool(numbers[:people])
        self._services = _Pool([_service_id(order) for _ in range(services)])
        self._spammers = _Pool(
            [number if order.random() < 0.7 else _service_id(order) for number in numbers[people : people + spammers]]
        )
        self._uniform = order.random

    def sender_of(self, message: Message) -> str:
        """Somebody who would send this message."""
        if message.label == "spam":
            return self._spammers.pick(self._uniform())
        if message.category is None or message.category in PERSONAL:
            return self._people.pick(self._uniform())
        return self._services.pick(self._uniform())

    def recipient(self) -> str:
        return self._recipients[int(self._uniform() * len(self._recipients))]


class _Pool:
    """Senders of one kind; the first is the most popular."""

    def __init__(self, senders: list[str]) -> None:
        self._senders = senders
        self._weights = list(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, len(senders) + 1)))

    def pick(self, uniform: float) -> str:
        return self._senders[min(bisect(self._weights, uniform * self._weights[-1]), len(self._senders) - 1)]


def _number(index: int) -> str:
    area, line = divmod(index, 100)
    return f"+1{AREAS[area]}55501{line:02d}"


def _service_id(order: random.Random) -> str:
    if order.random() < 0.4:
        return str(order.randint(60_000, 89_999))
    return (
        "".join(order.choice(SYLLABLES) for _ in range(order.randint(2, 3)))
        + order.choice(("", "BANK", "24", "GO"))[:2]
    )
