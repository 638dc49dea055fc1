"""Finding what a caller names: leads, users, campaigns.

An id that never was, one that is malformed and one of another workspace get the same words.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from app.actions.work import Work
from app.database import MANY, among, listed, table_of
from app.errors import BadUserInput, CampaignNotFound, LeadNotFound, UserNotFound, shown
from app.rules.emails import email_key
from app.tables import Campaign, Lead, User

LEAD = table_of(Lead)
_CAMPAIGN = table_of(Campaign)
_USER = table_of(User)

#: How many references a list may hold.
MOST = 1_000


async def leads(work: Work, refs: Sequence[Mapping[str, Any]], *, argument: str = "leads", lock: bool = True) -> list[dict[str, Any]]:
    """Find the leads that `refs` name, in that order, and lock them until the transaction ends.

    A ref has exactly one of `id`, `crmId` and `email`. Raises LeadNotFound for the first that is unknown, BadUserInput
    for none, more than 1,000, or one with a NUL.
    """
    if not 1 <= len(refs) <= MOST:
        raise BadUserInput(f"{argument}: {len(refs)} given, 1 to {MOST:,} are taken", argument=argument)
    named = [_named(ref, f"{argument}[{index}]", ("id", "crmId", "email")) for index, ref in enumerate(refs)]
    found = await _named_leads(work, named, lock=lock)
    for index, name in enumerate(named):
        if name not in found:
            raise LeadNotFound(argument=f"{argument}[{index}]")
    return [found[name] for name in named]


async def lead(work: Work, ref: Mapping[str, Any], argument: str = "lead", *, lock: bool = True) -> dict[str, Any]:
    """Find the one lead that `ref` names, as `leads` does."""
    name = _named(ref, argument, ("id", "crmId", "email"))
    found = await _named_leads(work, [name], lock=lock)
    if name not in found:
        raise LeadNotFound(argument=argument)
    return found[name]


async def user_id(work: Work, ref: Mapping[str, Any] | None, argument: str) -> str | None:
    """Find the id of the user that `ref` (`id` or `email`) names; nobody for None. Raises UserNotFound."""
    if ref is None:
        return None
    kind, value = _named(ref, argument, ("id", "email"))
    column = _USER.c.email_key if kind == "email" else _USER.c.id
    key = email_key(value) if kind == "email" else value
    asked = sa.select(_USER.c.id).where(_USER.c.workspace_id == sa.bindparam("workspace"), column == sa.bindparam("key", type_=sa.Text))
    row = None if key is None else await work.row(asked, {"key": key})
    if row is None:
        raise UserNotFound(argument=argument)
    return str(row["id"])


async def campaigns(work: Work, ids: Iterable[str], argument: str) -> list[str]:
    """Tell that every campaign is there, and give the ids in order, each once. Raises CampaignNotFound for the first that is not."""
    asked = [checked(value, f"{argument}[{index}]") for index, value in enumerate(ids)]
    if len(asked) > MOST:
        raise BadUserInput(f"{argument}: {len(asked)} given, at most {MOST:,} are taken", argument=argument)
    known = await known_campaigns(work, asked) if asked else set()
    for index, value in enumerate(asked):
        if value not in known:
            raise CampaignNotFound(argument=f"{argument}[{index}]")
    return list(dict.fromkeys(asked))


async def known_campaigns(work: Work, ids: Iterable[str]) -> set[str]:
    """Tell which of these campaigns are there, and keep them from going, and their criteria from changing, until the end."""
    rows = await work.rows(_known_campaigns(postgres=work.postgres), {"ids": listed(ids, postgres=work.postgres)})
    return {row["id"] for row in rows}


@cache
def _known_campaigns(*, postgres: bool) -> sa.Select[Any]:
    mine = (_CAMPAIGN.c.workspace_id == sa.bindparam("workspace"), among(_CAMPAIGN.c.id, "ids", postgres=postgres))
    return sa.select(_CAMPAIGN.c.id).where(*mine).order_by(_CAMPAIGN.c.id).with_for_update(read=True, key_share=True)


def checked(value: str, argument: str) -> str:
    """Refuse text that no database keeps: a NUL, half a surrogate pair."""
    if "\0" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise BadUserInput(f"{argument} {shown(value)}: may not hold a NUL or half a character", argument=argument)
    return value


def _named(ref: Mapping[str, Any], argument: str, kinds: Sequence[str]) -> tuple[str, str]:
    given = [(kind, ref[kind]) for kind in kinds if ref.get(kind) is not None]
    if len(given) != 1:
        raise BadUserInput(f"{argument}: exactly one of {', '.join(kinds)} is needed, {len(given)} given", argument=argument)
    kind, value = given[0]
    return kind, checked(str(value), f"{argument}.{kind}")


async def _named_leads(work: Work, named: Iterable[tuple[str, str]], *, lock: bool) -> dict[tuple[str, str], dict[str, Any]]:
    wanted: dict[str, dict[str, list[tuple[str, str]]]] = {"id": {}, "email_key": {}, "crm_id": {}}
    for kind, value in named:
        key = email_key(value) if kind == "email" else value
        if key is not None:
            column = {"id": "id", "email": "email_key", "crmId": "crm_id"}[kind]
            wanted[column].setdefault(key, []).append((kind, value))
    rows = await find_leads(work, ids=wanted["id"], email_keys=wanted["email_key"], crm_ids=wanted["crm_id"], lock=lock)
    return {name: row for row in rows for column, names in wanted.items() for name in names.get(row[column], ())}


async def find_leads(
    work: Work,
    *,
    ids: Iterable[str] = (),
    email_keys: Iterable[str] = (),
    crm_ids: Iterable[str] = (),
    lock: bool = True,
    columns: tuple[str, ...] | None = None,
) -> list[dict[str, Any]]:
    """Give the leads (all columns, unless told) with one of these ids, folded e-mails or CRM ids, locked in the order of their ids."""
    asked = {"ids": [*dict.fromkeys(ids)], "emails": [*email_keys], "crm_ids": [*crm_ids]}
    # Those of a request, which are few, are always asked for in one way: each way is a statement that is kept.
    names = ("ids",) if len(asked["ids"]) >= MANY and not asked["emails"] and not asked["crm_ids"] else tuple(asked)
    binds = {name: listed(asked[name], postgres=work.postgres) for name in names}
    return await work.rows(_matching(names, postgres=work.postgres, lock=lock, columns=columns), binds)


_HERE = LEAD.c.workspace_id == sa.bindparam("workspace")
_UNIQUE = {"ids": "id", "emails": "email_key", "crm_ids": "crm_id"}


@cache
def _matching(names: tuple[str, ...], *, postgres: bool, lock: bool, columns: tuple[str, ...] | None) -> sa.Select[Any]:
    what = [LEAD] if columns is None else [LEAD.c[name] for name in columns]
    if postgres:
        return _matching_one_by_one(names, what, lock=lock)
    # A union of walks of an index each; joined by OR, SQLite would rather read the whole workspace in order.
    named = sa.union(*[sa.select(LEAD.c.id).where(_HERE, among(LEAD.c[_UNIQUE[name]], name, postgres=False)) for name in names])
    asked = sa.select(*what).where(_HERE, LEAD.c.id.in_(named)).order_by(LEAD.c.id)
    return asked.with_for_update() if lock else asked


def _matching_one_by_one(names: Sequence[str], what: Sequence[Any], *, lock: bool) -> sa.Select[Any]:
    """Read the leads of PostgreSQL lead by lead, each from an index: one alone has the name, which a limit says and leaves no other way.

    Of a table that has grown since anybody looked at it, the server takes each name for that of dozens, and rather sorts them all.
    """
    one: sa.ColumnElement[int] = sa.literal_column("1")
    found = []
    for name in names:
        given = sa.func.unnest(sa.bindparam(name, type_=pg.ARRAY(sa.Text))).table_valued("value").render_derived(f"given_{name}")
        if name == "ids":
            found.append(sa.select(given.c.value.label("id")))
            continue
        each = sa.select(LEAD.c.id).where(_HERE, LEAD.c[_UNIQUE[name]] == given.c.value).limit(one).lateral(f"with_{name}")
        found.append(sa.select(each.c.id).select_from(given, each))
    union = sa.union(*found).subquery("found")
    # In this order they are locked.
    named = sa.select(union.c.id).order_by(sa.collate(union.c.id, "C")).subquery("named")
    asked = sa.select(*what).where(_HERE, LEAD.c.id == named.c.id).limit(one)
    each = (asked.with_for_update() if lock else asked).lateral("each")
    return sa.select(each).select_from(named, each)
