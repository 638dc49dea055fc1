"""E-mail addresses, searches and other texts that are meant to break something, or that only look as if they were."""

import time
from contextlib import suppress
from typing import Any

import pytest
from tenants import Tenant

from app.rules.emails import email_key, fold_email, parse_email
from app.rules.folding import search_words, words
from app.rules.moments import read_datetime
from app.rules.urls import parse_url

# Addresses


async def test_case_makes_no_other_lead(furnish):
    here = (await furnish()).admin
    made = (await here.data("leads/create", input={"email": "A@X.EXAMPLE.COM"}))["leadCreate"]["lead"]
    [error] = await here.errors("leads/create", {"input": {"email": "a@x.example.com"}})
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("TAKEN", "input.email")
    rows = [{"email": address} for address in ("a@x.example.com", " A@x.EXAMPLE.com ", "a@X.example.Com")]
    report = (await here.data("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
    assert {result["leadId"] for result in report["results"]} == {made["id"]}
    assert (await here.data("leads/get", by={"email": "a@X.example.com"}))["lead"]["id"] == made["id"]
    await here.data("users/create", input={"email": "U@X.example.com", "role": "EDITOR"})
    [error] = await here.errors("users/create", {"input": {"email": "u@x.example.com", "role": "EDITOR"}})
    assert error["extensions"]["code"] == "TAKEN"


@pytest.mark.parametrize("other", ["аda@example.com", "ada@exаmple.com", "adа@example.com"])  # each with one Cyrillic letter
async def test_a_look_alike_is_another_lead(furnish, other):
    here = (await furnish()).admin
    report = (await here.data("leads/upsert_many", input={"leads": [{"email": "ada@example.com"}, {"email": other}]}))["leadUpsertMany"]
    assert [result["outcome"] for result in report["results"]] == ["CREATED", "CREATED"]
    for address, result in zip(("ada@example.com", other), report["results"], strict=True):
        assert (await here.data("leads/get", by={"email": address}))["lead"]["id"] == result["leadId"]


BAD_ADDRESSES = {
    "a right-to-left override": "ada\u202emoc.elpmaxe@example.com",
    "an isolate": "ada\u2066@example.com",
    "a CR": "ada@example.com\r",
    "a LF": "ada@example.com\nBcc: bob@example.com",
    "a line separator": "ada\u2028@example.com",
    "an escape": "ada\x1b[2J@example.com",
    "65 characters before the @": "a" * 65 + "@example.com",
    "255 characters": "a" * 60 + "@" + "b" * 60 + ".example.com" + "c" * 123,
    "no dot": "a@localhost",
    "an address in numbers": "a@[127.0.0.1]",
    "two @": "ada@bob@example.com",
    "a display name": "Ada <ada@example.com>",
    "a quoted part": '"ada lovelace"@example.com',
    "a comma": "ada@example.com,bob@example.com",
    "white space": "ada lovelace@example.com",
    "a zero-width space": "ada\u200b@example.com",
    "two dots": "ada..lovelace@example.com",
    "a label that begins with a hyphen": "ada@-example.com",
    "an underscore in the domain": "ada@ex_ample.com",
    "Punycode that is none": "ada@xn--.example.com",
}


@pytest.mark.parametrize("address", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
async def test_a_bad_address_is_refused_at_every_door(target, refused, address):
    lead = {"id": target.ids["Lead"]}
    for document, variables, argument in (
        ("leads/create", {"input": {"email": address}}, "input.email"),
        ("leads/update", {"lead": lead, "patch": {"email": address}}, "patch.email"),
        ("users/create", {"input": {"email": address, "role": "EDITOR"}}, "input.email"),
    ):
        told = await refused(target, document, variables)
        assert (told["code"], told["argument"]) == ("BAD_USER_INPUT", argument)
        assert told["rule"] in ("INVALID", "TOO_LONG")
    rows = [{"email": address, "firstName": "Bad"}, {"id": target.ids["Lead"]}]
    report = (await target.admin.data("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
    assert [result["outcome"] for result in report["results"]] == ["FAILED", "UNCHANGED"]
    assert [(error["code"], error["field"]) for error in report["results"][0]["errors"]] == [(told["rule"], "email")]
    shown = report["results"][0]["errors"][0]["message"]
    assert shown.isprintable()
    assert len(shown) < 300
    assert (await target.admin.data("leads/get", by={"email": address}))["lead"] is None
    assert (await target.admin.errors("leads/delete", {"lead": {"email": address}}))[0]["extensions"]["code"] == "NOT_FOUND"


BAIT = {
    "dots": "a@" + "a." * 5_000,
    "hyphens": "a@" + "a-" * 5_000 + "!",
    "dots before the @": "a." * 5_000 + "@example.com",
    "many @": "@" * 10_000,
    "within the length": "a@" + "a." * 124,
    "within the length, before the @": "a." * 31 + "!@example.com",
    "combining marks": "a" + "\u0301" * 10_000 + "@example.com",
    "a long domain of letters": "a@" + "ü" * 10_000,
    "white space": " " * 10_000 + "a",
    "quotes": '"' * 10_000 + "@example.com",
}


@pytest.mark.parametrize("read", [parse_email, email_key, fold_email])
@pytest.mark.parametrize("bait", BAIT.values(), ids=BAIT)
def test_bait_for_a_slow_pattern_is_read_at_once(read, bait):
    spent = []
    for _ in range(3):
        begun = time.thread_time()
        with suppress(ValueError):
            read(bait)
        spent.append(time.thread_time() - begun)
    assert min(spent) < 0.05


@pytest.mark.parametrize("read", [parse_url, read_datetime, words, search_words])
@pytest.mark.parametrize("bait", ["http://" + "a." * 5_000, "2026-" * 2_000, "1" * 10_000, "ﷺ" * 3_333, "a\u0301" * 5_000, "[" * 10_000])
def test_so_is_bait_for_the_other_rules(read, bait):
    begun = time.thread_time()
    with suppress(ValueError):
        read(bait)
    assert time.thread_time() - begun < 0.25


# Searches and filters


SEARCHED = [
    "100% sure", "under_score", "back\\slash", 'said "so"', "near NEAR(", "a AND b", "star*", "caret^", "it's", "Çelik-O'Neil", "日本",
]  # fmt: skip
QUERIES = [
    *"%_\\\"*^'();:!&|<>-+~.,{}[]", "", " ", "NEAR(", "a AND", "AND", "OR", "NOT", "a OR b", "near:a", "words:a", "words : a", "-a", "a*",
    '"a"', "a b", "a:*", "a & b", "a <-> b", "!a", "''; DROP TABLE lead; --", "100%", "1__", "unders", "score", "back\\slash",
    "NEAR(a b, 2)", "\u202e", "çelik", "oneil", "日", "本", "\u0301", "🙂",
]  # fmt: skip


@pytest.fixture(scope="session")
async def searched(furnish):
    here = await furnish()
    rows = [{"crmId": f"s{number}", "company": company} for number, company in enumerate(SEARCHED)]
    await here.admin.data("leads/upsert_many", input={"leads": rows})
    return here


async def companies(here: Tenant, **asked: Any) -> set[str]:
    answer = await here.admin.data("leads/list", **asked, first=200)
    return {node["company"] for node in answer["leads"]["nodes"]}


@pytest.mark.parametrize("query", QUERIES)
async def test_a_search_takes_every_character_for_what_it_is(searched, query):
    everything = await companies(searched)
    texts = {company: words(company) for company in SEARCHED}
    asked = search_words(query)
    expected = {company for company, found in texts.items() if all(any(word.startswith(each) for word in found) for each in asked)}
    # The made lead and its neighbour have words of their own: only the companies above are foreseen.
    assert await companies(searched, search=query) & set(SEARCHED) == expected
    assert asked or await companies(searched, search=query) == everything


@pytest.mark.parametrize("piece", ["%", "_", "\\", '"', "'", "*", "^", "a%", "__", "NEAR(", ".*", "\\d", "0%"])
async def test_a_filter_takes_every_character_for_what_it_is(searched, piece):
    folded = piece.lower()
    for operator, holds in (
        ("contains", lambda text: folded in text),
        ("startsWith", lambda text: text.startswith(folded)),
        ("eq", lambda text: text == folded),
    ):
        expected = {company for company in SEARCHED if holds(" ".join(company.lower().split()))}
        assert await companies(searched, where={"company": {operator: piece}}) & set(SEARCHED) == expected


# Texts that only look dangerous


STRANGE = [
    "🙂🏽‍🚀", "é", "e\u0301", "ﬁ ﷺ", "\U0010ffff\uffff", "İstanbul ß ſ",
    "'; DROP TABLE lead; --", "${jndi:ldap://x}", "<script>alert(1)</script>", "=1+1", "\\u0000", "%00", "{{7*7}}", "null", "NaN",
    "true", "٣", "\u00a0a\u3000b",
]  # fmt: skip


async def test_strange_texts_come_back_as_they_went_in(furnish):
    here = (await furnish()).admin
    fields = ("firstName", "lastName", "company", "title", "location", "notes", "phone", "crmId")
    rows = [{**dict.fromkeys(fields, text), "attributes": {text: [text]}} for text in STRANGE]
    report = (await here.data("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
    assert report["summary"]["created"] == len(STRANGE)
    selection = " ".join(fields)
    for text, result in zip(STRANGE, report["results"], strict=True):
        told_of = "activities { nodes { changes { field after } } }"
        query = f"query Q($id: ID!) {{ node(id: $id) {{ ... on Lead {{ {selection} attributes {told_of} }} }} }}"
        lead = (await here.data(query, id=result["leadId"]))["node"]
        told = {change["field"]: change["after"] for change in lead.pop("activities")["nodes"][0]["changes"]}
        assert lead == {**dict.fromkeys(fields, text.strip()), "attributes": {text: [text]}}
        assert told == told | dict.fromkeys(fields, text.strip()) | {f"attributes.{text}": [text]}


async def test_texts_that_grow_when_they_are_folded_are_kept_and_found(furnish):
    here = (await furnish()).admin
    long = "ﷺ" * 3_333  # 10 kB here, 60 kB folded
    row = {"crmId": "long", "firstName": long, "lastName": long, "company": long, "title": long, "location": long}
    made = (await here.data("leads/create", input=row))["leadCreate"]["lead"]
    found = await here.data('{ leads(search: "صلى", orderBy: [{field: COMPANY}], first: 1) { nodes { id } pageInfo { endCursor } } }')
    assert made["id"] in [node["id"] for node in found["leads"]["nodes"]]
