"""Made people, the same for the same seed, as believable and as dirty as the lists that salespeople keep.

Each row knows whether it is bad and whether it stands twice, so that a test can say exactly what must become of it. All
addresses are on domains that are set aside for examples (RFC 2606): nobody can be written to.
"""

# ruff: noqa: RUF001, SIM905  (names as ten languages write them; words of one line read best as one text)

import random
from collections.abc import Iterator
from dataclasses import dataclass

from app.rules.folding import fold

#: First names, last names and cities that go together; names of other scripts with the letters that an address has for them.
NAMES = """
Olivia Jack Amelia Harry Grace Oscar Ruby Thomas | Smith Taylor O'Brien Walker Wright Hughes Clarke Baker | London Leeds Dublin
Marie Jean Chloé Hélène François Zoë Loïc Noémie | Dubois Martin Lefèvre Garçon Béranger Moreau d'Arcy Noël | Paris Lyon Genève
Anna Jürgen Käthe Lukas Sören Heike Jörg Maja | Müller Schäfer Groß Weiß Vogel Krüger Bäcker Huber | Berlin München Zürich
Lucía José Íñigo Sofía Andrés Pilar Raúl Begoña | García Muñoz Peña Ibáñez Núñez Ortega Vélez Durán | Madrid Sevilla Bogotá
Łukasz Zofia Małgorzata Paweł Agnieszka Michał Żaneta Jan | Kowalski Wójcik Dąbrowski Łuczak Nowak Zając Król Żak | Kraków Łódź Gdańsk
Søren Åse Mikkel Freja Jørgen Ærna Lærke Bjørn | Nielsen Kjær Ødegaard Møller Sørensen Ågård Holm Bæk | København Århus Odense
Ayşe Çağla Emre Gülşen İbrahim Işıl Ömer Şebnem | Yılmaz Öztürk Şahin Çelik Kılıç Güneş Doğan Aydın | İstanbul İzmir Ankara
Linh Hương Đức Thảo Minh Ngọc Quân Trang | Nguyễn Trần Phạm Đặng Bùi Võ Huỳnh Lý | Hanoi Huế Saigon
Γιώργος:giorgos Ελένη:eleni Νίκος:nikos Μαρία:maria | Παπαδόπουλος:papadopoulos Οικονόμου:oikonomou Βασιλείου:vasileiou | Αθήνα Πάτρα Βόλος
陽菜:hina 蓮:ren 健太:kenta 美咲:misaki | 佐藤:sato 鈴木:suzuki 田中:tanaka 高橋:takahashi | 東京 大阪 京都
""".strip()
FIRMS = "Acme Borealis Cobalt Delphin Everest Fjord Granit Helios Iberis Juniper Kestrel Lumen Meridian Nimbus Orion Pelican".split()
#: The second word of a firm, and what its domain makes of it.
BRANCHES = ("Analytics:analytics", "Bau GmbH:bau", "Conseil:conseil", "Logistics:logistics", "Médica:medica", "Software:soft")
TITLES = "CEO|CTO|VP Engineering|Head of Sales|Directrice marketing|Geschäftsführer|Jefa de compras|Software Engineer|Founder".split("|")
SOURCES = ("linkedin", "linkedin", "website", "referral", "csv", "instagram", "Trade fair", "")
ROLES = ("info", "sales", "contact", "office")
BAD_ADDRESSES = "{local}.{host}|{local}@@{host}|{local}@|@{host}|{local} at {host}|{local}@{host},|{local}@localhost|n/a".split("|")

_LANGUAGES = [[names.split() for names in language.split("|")] for language in NAMES.splitlines()]
#: Letters that no decomposition takes apart.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "æ": "ae", "đ": "d", "ı": "i", "'": ""})


@dataclass(frozen=True, slots=True)
class MadeRow:
    """A row of a list: its cells by the contract's names, and what must become of it."""

    cells: dict[str, str]
    #: Why it can't be taken, or None.
    fault: str | None = None
    #: The row, counted from 0, whose address this one has too.
    repeats: int | None = None


def make_people(count: int, *, seed: int = 1, bad: float = 0.01, repeated: float = 0.02) -> Iterator[MadeRow]:
    """Make the rows of a list; about the shares `bad` and `repeated` of them are so."""
    dice = random.Random(seed)  # noqa: S311  (the same people for the same seed, no secrets)
    taken: set[str] = set()
    good: list[tuple[int, dict[str, str]]] = []
    for index in range(count):
        chance = dice.random()
        if chance < bad:
            yield _bad(dice, _person(dice, taken))
        elif chance < bad + repeated and good:
            first, cells = dice.choice(good)
            yield MadeRow(_again(dice, cells), repeats=first)
        else:
            cells = _person(dice, taken)
            good.append((index, cells))
            yield MadeRow(_soiled(dice, cells))


def _person(dice: random.Random, taken: set[str]) -> dict[str, str]:
    firsts, lasts, cities = dice.choice(_LANGUAGES)
    first, first_letters = _named(dice.choice(firsts))
    last, last_letters = _named(dice.choice(lasts))
    firm = dice.choice(FIRMS)
    branch, branch_letters = _named(dice.choice(BRANCHES))
    host = f"{firm.lower()}-{branch_letters}.example.{dice.choice(('com', 'com', 'org', 'net'))}"
    local = dice.choice((f"{first_letters}.{last_letters}", f"{first_letters[0]}{last_letters}", first_letters))
    if dice.random() < 0.03:
        local = dice.choice(ROLES)
    email, number = f"{local}@{host}", 1
    while email in taken:
        number += 1
        email = f"{local}{number}@{host}"
    taken.add(email)
    return {
        "firstName": first,
        "lastName": last,
        "email": email,
        "company": f"{firm} {branch}",
        "title": dice.choice(TITLES),
        "linkedinUrl": f"https://linkedin.com/in/{first_letters}-{last_letters}-{dice.randrange(10_000)}",
        "phone": f"+44 7700 900{dice.randrange(1_000):03}" if dice.random() < 0.6 else "",  # Ofcom keeps these for films
        "location": dice.choice(cities),
        "source": dice.choice(SOURCES),
    }


def _named(entry: str) -> tuple[str, str]:
    """Give a name and the letters that an address has for it."""
    name, _, letters = entry.partition(":")
    return name, letters or fold(name).translate(_LETTERS)


def _soiled(dice: random.Random, cells: dict[str, str]) -> dict[str, str]:
    """Treat a row as people treat their lists: shout, leave out, leave spaces."""
    soiled = dict(cells)
    for field in ("lastName", "company", "title", "linkedinUrl", "firstName", "location"):
        chance = dice.random()
        if chance < 0.08:
            soiled[field] = ""
        elif chance < 0.12:
            soiled[field] = f" {cells[field]}  "
        elif chance < 0.15 and field != "linkedinUrl":
            soiled[field] = cells[field].upper()
    if dice.random() < 0.1:
        soiled["email"] = cells["email"].title()
    if dice.random() < 0.05:
        soiled["email"] = f" {soiled['email']} "
    return soiled


def _again(dice: random.Random, cells: dict[str, str]) -> dict[str, str]:
    """Repeat a person under the same address in another spelling, perhaps with another job."""
    again = _soiled(dice, cells) | {"email": dice.choice((cells["email"], cells["email"].upper(), f"{cells['email']} "))}
    return again | {"title": dice.choice(TITLES)} if dice.random() < 0.5 else again


def _bad(dice: random.Random, cells: dict[str, str]) -> MadeRow:
    """Spoil a row: its address is none, or it has none."""
    if dice.random() < 0.3:
        return MadeRow(cells | {"email": dice.choice(("", "  "))}, fault="BLANK")
    local, _, host = cells["email"].partition("@")
    return MadeRow(cells | {"email": dice.choice(BAD_ADDRESSES).format(local=local, host=host)}, fault="INVALID")
