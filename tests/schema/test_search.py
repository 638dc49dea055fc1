"""Search finds the same leads in the same order whichever way it goes about it, and its pages are as those of any list."""

import pytest

from app.search_index import beginnings
from schema.planner import lists

NAMES = ["Dubois", "dubois-Martin", "Du Bois", "Dübendorf", "Martin", "Ubois", "O'Dub", "名 du", "Straße", "Duboisé"]


@pytest.fixture
async def crowd(api):
    """Forty leads of ten names, every fourth of one company, some without a score or an address."""
    rows = [
        {
            "crmId": str(number),
            "lastName": NAMES[number % 10],
            "company": "TechCorp SAS" if number % 4 == 0 else f"Startup {number}",
            "email": f"p{number}@example.com" if number % 3 else None,
        }
        for number in range(40)
    ]
    await api("leads/upsert_many", input={"leads": rows[:30]})
    await api("leads/upsert_many", input={"leads": rows[30:], "autoScore": False})


SEARCHES = {
    "du": {0, 1, 2, 3, 6, 7, 9},
    "DUB": {0, 1, 3, 6, 9},
    "dubois": {0, 1, 9},
    "dubois martin": {1},
    "strasse": {8},
    "名": {7},
    "ubois": {5},
    "d": set(range(10)) - {4, 5, 8},
    "zzz": set(),
    "du zzz": set(),
    "o dub": {6},
    "du du": {0, 1, 2, 3, 6, 7, 9},
    "p e c": set(range(10)),
    "a b c d e f g h": set(),
}
ORDERS = {
    "": "",
    "score": "orderBy: [{field: QUALITY_SCORE, direction: DESC}]",
    "email": "orderBy: [{field: EMAIL}]",
    "name": "orderBy: [{field: LAST_NAME}]",
}


@pytest.mark.parametrize("order", ORDERS)
async def test_few_and_many_are_found_alike(api, crowd, statements, monkeypatch, order):
    for search, named in SEARCHES.items():
        answers = []
        for many in (1_000, 3):
            monkeypatch.setattr(lists, "MANY", many)
            # The plan keeps the bound that it was made with: a document of its own for each.
            text = f"query Many{many}($search: String, $first: Int, $after: String, $last: Int, $before: String, $offset: Int) {{ leads(search: $search, first: $first, after: $after, last: $last, before: $before, offset: $offset {ORDERS[order]}) {{ nodes {{ id lastName email }} totalCount pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            # A long statement of SQLite is tried at once the first time, found to be long, and goes to a thread from then on.
            await api(text, search=search, first=200)
            with statements() as ran:
                whole = (await api(text, search=search, first=200))["leads"]
            assert len(ran) == 1
            ids = [node["id"] for node in whole["nodes"]]
            assert whole["totalCount"] == len(ids)
            if ids:
                some = (await api(text, search=search, first=3))["leads"]
                rest = (await api(text, search=search, after=some["pageInfo"]["endCursor"]))["leads"]
                assert [node["id"] for node in some["nodes"] + rest["nodes"]] == ids
                assert (rest["pageInfo"]["hasPreviousPage"], some["pageInfo"]["hasNextPage"]) == (True, len(ids) > 3)
                ends = (await api(text, search=search, last=2))["leads"]
                assert [node["id"] for node in ends["nodes"]] == ids[-2:]
                skipped = (await api(text, search=search, offset=2, first=5))["leads"]
                assert [node["id"] for node in skipped["nodes"]] == ids[2:7]
            answers.append(ids)
            if search != "p e c":
                assert {node["lastName"] for node in whole["nodes"]} == {NAMES[place] for place in named}, search
        assert answers[0] == answers[1], search


#: Some have more words than have their beginnings in PostgreSQL's index.
OTHERS = {
    "many": "One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Zebra Acme",
    "few": "Zebra Acme",
    "near": "Zebulon Acme",
    "nearer": "Zeppelin Acrobats",
    "short": "Ze Ac",
}


@pytest.mark.parametrize(
    ("search", "found"),
    {
        "zebra acme": {"many", "few"},
        "zebr acm": {"many", "few"},
        "zeb acme": {"many", "few", "near"},
        "zebu acme": {"near"},
        "acme zebul": {"near"},
        "ze ac": {"many", "few", "near", "nearer", "short"},
        "zep acr": {"nearer"},
        "zepp acrob": {"nearer"},
        "zepp acme": set(),
        "one zebr": {"many"},
        "thirt twel": {"many"},
        "thirteen zebra": {"many"},
        "zebr ebra": set(),
        "z a one two three four": {"many"},
        "one two three four five six zebu": set(),
        "one two three four five six zebr": {"many"},
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_several_words_are_found_however_they_are_cut_for_the_index(api, search, found):
    await api("leads/upsert_many", input={"leads": [{"crmId": name, "company": company} for name, company in OTHERS.items()]})
    text = "query Others($search: String!) { leads(search: $search) { nodes { crmId } totalCount } campaigns { totalCount } }"
    leads = (await api(text, search=search))["leads"]
    assert {node["crmId"] for node in leads["nodes"]} == found
    assert leads["totalCount"] == len(found)


def test_of_several_words_the_longest_and_long_ones_are_asked_for_whole():
    assert beginnings(["gunes", "peli"]) == ["gunes", "pel"]
    assert beginnings(["acme", "hol"]) == ["acme", "hol"]
    assert beginnings(["ab", "lead12345", "user42", "carol"]) == ["ab", "lead12345", "user42", "car"]


async def test_a_search_goes_with_a_filter(api, crowd, monkeypatch):
    answers = []
    for many in (1_000, 3):
        monkeypatch.setattr(lists, "MANY", many)
        text = f'query Filtered{many} {{ leads(search: "du", where: {{company: {{contains: "techcorp"}}, not: {{lastName: {{eq: "dubois"}}}}}}) {{ nodes {{ lastName company }} totalCount }} }}'
        answers.append((await api(text))["leads"])
    assert answers[0] == answers[1]
    assert answers[0]["totalCount"] == len(answers[0]["nodes"]) > 0
    assert {node["company"] for node in answers[0]["nodes"]} == {"TechCorp SAS"}
    assert "Dubois" not in {node["lastName"] for node in answers[0]["nodes"]}


async def test_a_strangers_search_finds_nothing_of_ours(api, stranger, crowd, monkeypatch):
    for many in (1_000, 0):
        monkeypatch.setattr(lists, "MANY", many)
        text = f'query Strange{many} {{ leads(search: "du") {{ nodes {{ id }} totalCount }} }}'
        assert (await stranger(text))["leads"] == {"nodes": [], "totalCount": 0}
        assert (await api(text))["leads"]["totalCount"] == 28
