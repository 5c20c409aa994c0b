"""Slots whose values are computed: amounts, codes, times, numbers from ranges reserved for fiction, links, brands.

Every domain ends in .example, every telephone number lies in a range that a regulator keeps for drama.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from producer_sim.grammar.expand import Memory, Piece

Uniform = Callable[[], float]

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_DAYS: Final = ("Mon", "Tues", "Wed", "Thurs", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ALPHABET: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CAPITALS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
# A message settles on one country, so that its currency and its telephone numbers agree.
COUNTRIES: Final = ("gb",) * 7 + ("us",) * 7 + ("eu",) * 2 + ("in",) * 3 + ("au",)
CURRENCY: Final = {"gb": "£", "us": "$", "eu": "€", "in": "Rs ", "au": "$"}
SCALE: Final = {"gb": 1, "us": 1, "eu": 1, "in": 40, "au": 1}
ROUND: Final = (50, 75, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 750, 800, 900, 1000, 1200, 1500, 1800, 2000,
                2500, 3000, 3500, 4000, 5000, 7500, 8000, 10000, 12000, 15000, 20000, 25000)  # fmt: skip
BAD_WORDS: Final = ("secure", "verify", "login", "account", "refund", "claim", "update", "support", "help", "id", "pay",
                    "portal", "track", "my", "online", "confirm", "check", "service", "web", "unlock", "notice")  # fmt: skip
LURE_WORDS: Final = ("win", "prize", "lucky", "gift", "bonus", "deal", "free", "cash", "vip", "reward", "fast", "best",
                     "top", "now", "mega", "smart", "easy", "go", "get", "offer", "hot", "super", "gold", "max")  # fmt: skip
BRAND_KINDS: Final = ("bank", "wallet", "carrier", "shop", "grocer", "telco", "utility", "app", "ride", "airline", "rail",
                      "insurer", "toll", "exchange", "casino", "charity", "employer", "clinic", "school_name", "company",
                      "taxoffice", "restaurant", "council")  # fmt: skip


def country(uniform: Uniform, memory: Memory) -> str:
    """The country the message has settled on."""
    if "country" not in memory:
        memory["country"] = COUNTRIES[int(uniform() * len(COUNTRIES))]
    return str(memory["country"])


def brand(kind: str, names: Piece) -> Piece:
    """A firm of `kind`; the same one at every mention in a message."""

    def named(uniform: Uniform, memory: Memory) -> str:
        name = memory.get(kind)
        if name is None:
            name = memory[kind] = names(uniform, memory)
        return str(name)

    return named


def brand_site(named: Piece) -> Piece:
    """The firm's own address: quillonbank.example, sometimes with a path."""

    def site(uniform: Uniform, memory: Memory) -> str:
        start = ("", "", "", "https://", "www.", "https://www.", "m.", "app.")[int(uniform() * 8)]
        return f"{start}{slug(named(uniform, memory))}.example"

    return site


def brand_link(named: Piece) -> Piece:
    """A deep link on the firm's own address, as in real notices."""

    def link(uniform: Uniform, memory: Memory) -> str:
        start = ("", "https://", "https://", "t.", "go.", "m.")[int(uniform() * 6)]
        return f"{start}{slug(named(uniform, memory))}.example/{_token(uniform, 4 + int(uniform() * 4))}"

    return link


def brand_fake(named: Piece) -> Piece:
    """An address that only looks like the firm's."""

    def fake(uniform: Uniform, memory: Memory) -> str:
        name, word = slug(named(uniform, memory)), BAD_WORDS[int(uniform() * len(BAD_WORDS))]
        other = BAD_WORDS[int(uniform() * len(BAD_WORDS))]
        shape = int(uniform() * 8)
        host = (
            f"{name}-{word}", f"{word}-{name}", f"{name}.{word}-{other}", f"{name}{word}", f"{word}.{name}-{other}",
            f"{name[:-1]}-{word}{int(uniform() * 99)}", f"{name}-{word}-{other}", f"{name}.{_token(uniform, 5).lower()}",
        )[shape]  # fmt: skip
        start = ("https://", "http://", "", "")[int(uniform() * 4)]
        return f"{start}{host}.example{_path(uniform)}"

    return fake


def slug(name: str) -> str:
    """A firm's name as a domain label."""
    return "".join(character for character in name.lower() if character.isascii() and character.isalnum())


def _path(uniform: Uniform) -> str:
    shape = uniform()
    if shape < 0.4:
        return ""
    return f"/{_token(uniform, 3 + int(uniform() * 5))}" if shape < 0.8 else f"/{BAD_WORDS[int(uniform() * 21)]}"


def _token(uniform: Uniform, length: int) -> str:
    number, size = int(uniform() * 2**52), len(ALPHABET)
    token = ""
    for _ in range(length):
        number, digit = divmod(number, size)
        token += ALPHABET[digit]
    return token


def _badlink(uniform: Uniform, _memory: Memory) -> str:
    words = LURE_WORDS if uniform() < 0.6 else BAD_WORDS
    one, two = words[int(uniform() * len(words))], words[int(uniform() * len(words))]
    host = (f"{one}-{two}", f"{one}{two}{int(uniform() * 999)}", f"{one}4u-{two}", f"{_token(uniform, 6).lower()}",
            f"{one}.{_token(uniform, 4).lower()}", f"{one}{two}")[int(uniform() * 6)]  # fmt: skip
    start = ("http://", "https://", "www.", "", "", "")[int(uniform() * 6)]
    return f"{start}{host}.example{_path(uniform)}"


def _badhost(uniform: Uniform, _memory: Memory) -> str:
    one, two = LURE_WORDS[int(uniform() * len(LURE_WORDS))], BAD_WORDS[int(uniform() * len(BAD_WORDS))]
    return f"{one}-{two}{int(uniform() * 99)}.example"


def _shortlink(uniform: Uniform, _memory: Memory) -> str:
    return f"{('lnk', 'sho', 'tny', 'go2', 'qr')[int(uniform() * 5)]}.example/{_token(uniform, 6)}"


def _digits(uniform: Uniform, count: int) -> str:
    return f"{int(uniform() * 10**count):0{count}d}"


def _code(uniform: Uniform, memory: Memory) -> str:
    shape = uniform()
    code = _digits(uniform, 6 if shape < 0.7 else 4 if shape < 0.85 else 5 if shape < 0.9 else 8)
    if 0.6 < shape < 0.7:
        code = f"{code[:3]}{'-' if shape < 0.63 else ' '}{code[3:]}"
    memory.setdefault("code", code)
    return str(memory["code"])


def _reference(uniform: Uniform, memory: Memory) -> str:
    if "ref" not in memory:
        letters = "".join(CAPITALS[int(uniform() * 24)] for _ in range(int(uniform() * 4)))
        memory["ref"] = letters + _digits(uniform, 5 + int(uniform() * 5))
    return str(memory["ref"])


def _phone(uniform: Uniform, memory: Memory) -> str:
    """A mobile or local number from a range kept for fiction."""
    where = country(uniform, memory)
    if where == "gb":
        tail = _digits(uniform, 3)
        return (f"07700 900{tail}", f"07700900{tail}", f"+447700900{tail}", f"020 7946 0{tail}")[int(uniform() * 4)]
    if where == "us":
        area, tail = ("212", "303", "512", "617", "702", "404")[int(uniform() * 6)], f"01{_digits(uniform, 2)}"
        return (f"({area}) 555-{tail}", f"{area}-555-{tail}", f"+1{area}555{tail}", f"555-{tail}")[int(uniform() * 4)]
    if where == "eu":
        return (f"06 39 98 {_digits(uniform, 2)} {_digits(uniform, 2)}", f"+336399{8}{_digits(uniform, 4)}",
                f"0171 39200{_digits(uniform, 2)}")[int(uniform() * 3)]  # fmt: skip
    if where == "in":
        return f"1800 555 0{_digits(uniform, 3)}"
    return f"0491 570 {('006', '156', '157', '158', '159', '110', '313', '737')[int(uniform() * 8)]}"


def _freephone(uniform: Uniform, memory: Memory) -> str:
    """A number a firm prints: free or local rate."""
    where, tail = country(uniform, memory), _digits(uniform, 3)
    if where == "gb":
        return (f"0808 157 0{tail}", f"03069 990{tail}", f"08081570{tail}")[int(uniform() * 3)]
    if where == "us":
        return (f"1-800-555-01{tail[:2]}", f"800-555-01{tail[:2]}", f"(800) 555-01{tail[:2]}")[int(uniform() * 3)]
    return _phone(uniform, memory)


def _premium(uniform: Uniform, _memory: Memory) -> str:
    """A premium-rate number (the part of 0909 879 that is kept for drama)."""
    tail = _digits(uniform, 3)
    return f"09098790{tail}" if uniform() < 0.6 else f"0909 8790{tail}"


def _short(uniform: Uniform, memory: Memory) -> str:
    if "short" not in memory:
        memory["short"] = f"{int(60000 + uniform() * 30000)}"
    return str(memory["short"])


def _money(uniform: Uniform, memory: Memory) -> str:
    """An everyday amount with pence: 12.49, now and then 1,249.00."""
    where = country(uniform, memory)
    value = (3 + 80 * uniform() ** 2 + 2500 * uniform() ** 12) * SCALE[where]
    return f"{CURRENCY[where]}{value:,.2f}"


def _salary(uniform: Uniform, memory: Memory) -> str:
    """A month's pay: 1,400 to 4,800."""
    where = country(uniform, memory)
    return f"{CURRENCY[where]}{(1400 + 3400 * uniform() ** 2) * SCALE[where]:,.2f}"


def _smallmoney(uniform: Uniform, memory: Memory) -> str:
    """A small fee: 1.20 to 9.95."""
    where = country(uniform, memory)
    cents = (0.99, 0.95, 0.49, 0.5, 0.2, 0.75, 0.45, 0.0)[int(uniform() * 8)]
    return f"{CURRENCY[where]}{(1 + int(uniform() * 9) + cents) * SCALE[where]:.2f}"


def _cash(uniform: Uniform, memory: Memory) -> str:
    """A round sum: 500, £1,000, 2000."""
    where = country(uniform, memory)
    value = ROUND[int(uniform() * len(ROUND))] * SCALE[where]
    return f"{CURRENCY[where]}{value:,}" if uniform() < 0.6 else f"{CURRENCY[where]}{value}"


def _pay(uniform: Uniform, memory: Memory) -> str:
    """What easy work is said to pay: 30 to 900."""
    where = country(uniform, memory)
    value = (3 + int(uniform() * 20) + int(70 * uniform() ** 6)) * 10 * SCALE[where]
    return f"{CURRENCY[where]}{value}"


def _quid(uniform: Uniform, memory: Memory) -> str:
    """A sum between friends: 5, 20."""
    where = country(uniform, memory)
    value = (2, 3, 5, 5, 8, 10, 10, 15, 20, 20, 25, 30, 40, 50)[int(uniform() * 14)] * SCALE[where]
    return f"{CURRENCY[where]}{value}"


def _time(uniform: Uniform, _memory: Memory) -> str:
    """As people type it: 7, 7.30, 7pm, 19:30."""
    hour, minute = 1 + int(uniform() * 12), ("00", "15", "30", "30", "45", "20")[int(uniform() * 6)]
    shape = int(uniform() * 8)
    if shape < 3:
        return str(hour)
    if shape == 3:
        return f"{hour}{'am' if 8 <= hour < 12 else 'pm'}"
    if shape == 4:
        return f"half {hour}"
    if shape == 5:
        return f"{hour}.{minute}"
    return f"{hour}:{minute}" if shape == 6 else f"{hour}:{minute}{'am' if 8 <= hour < 12 else 'pm'}"


def _clock(uniform: Uniform, _memory: Memory) -> str:
    """As systems print it: 14:05, 02:05 PM."""
    hour, minute = 7 + int(uniform() * 15), int(uniform() * 12) * 5
    if uniform() < 0.7:
        return f"{hour:02d}:{minute:02d}"
    return f"{(hour - 1) % 12 + 1}:{minute:02d} {'am' if hour < 12 else 'pm'}"


def _slotted(uniform: Uniform, _memory: Memory) -> str:
    """A delivery window: 10:15-12:15."""
    hour, minute = 8 + int(uniform() * 11), ("00", "15", "30", "45")[int(uniform() * 4)]
    dash = ("-", "-", " - ", " to ")[int(uniform() * 4)]
    return f"{hour:02d}:{minute}{dash}{hour + 1 + int(uniform() * 2):02d}:{minute}"


def _day(uniform: Uniform, _memory: Memory) -> str:
    days = DAYS if uniform() < 0.65 else SHORT_DAYS
    return days[int(uniform() * 7)]


def _date(uniform: Uniform, _memory: Memory) -> str:
    day, month = 1 + int(uniform() * 28), int(uniform() * 12)
    shape = int(uniform() * 6)
    return (
        f"{day} {MONTHS[month]}", f"{day:02d}/{month + 1:02d}", f"{MONTHS[month]} {day}", f"{day:02d}-{MONTHS[month]}",
        f"{DAYS[int(uniform() * 7)]} {day} {MONTHS[month]}", f"{day:02d}/{month + 1:02d}/2{int(uniform() * 10)}",
    )[shape]  # fmt: skip


def _card(uniform: Uniform, memory: Memory) -> str:
    if "card" not in memory:
        shown = ("*{}", "ending {}", "xx{}", "...{}", "**{}", "ending in {}", "X{}")[int(uniform() * 7)]
        memory["card"] = shown.format(_digits(uniform, 4))
    return str(memory["card"])


def _between(low: int, high: int) -> Piece:
    return lambda uniform, _memory: str(low + int(uniform() * (high - low + 1)))


def _plate(uniform: Uniform, _memory: Memory) -> str:
    letters = [CAPITALS[int(uniform() * 24)] for _ in range(5)]
    return f"{''.join(letters[:2])}{_digits(uniform, 2)} {''.join(letters[2:])}"


def _currency(uniform: Uniform, memory: Memory) -> str:
    return CURRENCY[country(uniform, memory)].strip()


COMPUTED: Final[dict[str, Piece]] = {
    "badlink": _badlink,
    "badhost": _badhost,
    "shortlink": _shortlink,
    "code": _code,
    "ref": _reference,
    "phone": _phone,
    "freephone": _freephone,
    "premium": _premium,
    "short": _short,
    "money": _money,
    "salary": _salary,
    "smallmoney": _smallmoney,
    "cash": _cash,
    "quid": _quid,
    "pay": _pay,
    "cur": _currency,
    "time": _time,
    "clock": _clock,
    "window": _slotted,
    "day": _day,
    "date": _date,
    "card": _card,
    "plate": _plate,
    "num": _between(2, 99),
    "percent": _between(1, 14),
    "discount": lambda uniform, _memory: f"{(10, 15, 20, 25, 30, 40, 50, 60, 70, 80)[int(uniform() * 10)]}%",
    "house": _between(1, 180),
    "points": lambda uniform, _memory: f"{int(20 + uniform() * 4000):,}",
    "grown": _between(24, 59),
    "pin4": lambda uniform, _memory: _digits(uniform, 4),
    "word": lambda uniform, _memory: ("WIN", "CLAIM", "YES", "PLAY", "CASH", "GO", "HOT", "PRIZE", "FUN", "TEXT", "LUCKY",
                                      "VIP", "MATCH", "CHAT", "SEXY", "TUNE", "QUIZ")[int(uniform() * 17)],
}  # fmt: skip
