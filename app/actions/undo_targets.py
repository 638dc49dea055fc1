"""What an undo has before it: the leads, the latest change first, and what the log says that the batch did to them."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from app.actions.activities import ACTIVITY, ActivityKind
from app.actions.undo_deltas import TELLING, Delta
from app.actions.work import Work
from app.database import among, listed, packed, table_of, unpacked
from app.tables import BatchLead

#: A chunk spans no more than this of the log for each of its leads; where it would, it has fewer.
PART = 8
#: Of a batch that does not say where it ends.
LOG_ENDS = 2**62

_TARGET = table_of(BatchLead)
Row = dict[str, Any]


async def take_down(work: Work, payload: Mapping[str, Any]) -> int:
    """Note the leads that the batch changed, and give their number.

    The `payload` of an undo says what it is about: its `batchId`, the batch that it `undoes`, and where that stands in the log, `first`
    to `last`; for what follows also how many leads there are in `total`.
    """
    return await work.run(_TAKE_DOWN, _binds(payload))


def _binds(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"batch": payload["undoes"], "undo": payload["batchId"], "first": payload["first"], "last": payload["last"]}


_FROM, _TO = sa.bindparam("first", type_=sa.BigInteger), sa.bindparam("last", type_=sa.BigInteger)
_OF_BATCH = (ACTIVITY.c.workspace_id == sa.bindparam("workspace"), ACTIVITY.c.batch_id == sa.bindparam("batch", type_=sa.Text))
_ITS = (*_OF_BATCH, ACTIVITY.c.sequence.between(_FROM, _TO))
_TAKE_DOWN = sa.insert(_TARGET).from_select(
    ["workspace_id", "batch_id", "lead_id", "sequence"],
    sa.select(
        sa.bindparam("workspace", type_=sa.Text), sa.bindparam("undo", type_=sa.Text), ACTIVITY.c.lead_id, sa.func.max(ACTIVITY.c.sequence)
    )
    .where(*_ITS, ACTIVITY.c.kind.in_([kind.value for kind in TELLING]), ACTIVITY.c.lead_id.is_not(None))
    .group_by(ACTIVITY.c.lead_id),
    include_defaults=False,
)


async def next_ones(work: Work, payload: Mapping[str, Any], most: int) -> list[Row]:
    """Give the next leads (`sequence`, `lead_id`), the latest change first; all of them, where they are not more than `most`."""
    part = PART * most if most < payload["total"] else LOG_ENDS
    return await work.rows(_NEXT, {"undo": payload["batchId"], "most": most, "part": part})


async def strike(work: Work, payload: Mapping[str, Any], last: Row, deltas: Mapping[str, Delta]) -> None:
    """Strike out the leads up to the `last` that was given, and those of the deltas that came along."""
    await work.run(_STRUCK, {"undo": payload["batchId"], "from": last["sequence"], "least": last["lead_id"]})
    if along := [{"sequence": delta.place, "lead_id": lead_id} for lead_id, delta in deltas.items() if delta.place is not None]:
        rows = packed(_TARGET, along, _PLACE, postgres=work.postgres)
        await work.run(_struck_along(postgres=work.postgres), {"undo": payload["batchId"], "rows": rows})


_HERE = (_TARGET.c.workspace_id == sa.bindparam("workspace"), _TARGET.c.batch_id == sa.bindparam("undo", type_=sa.Text))
# By both: an undo that began before leads stood in the order of the log has 0 for each.
_PLACE = ("sequence", "lead_id")
_place = sa.tuple_(*(_TARGET.c[name] for name in _PLACE))
_LAST = sa.select(sa.func.max(_TARGET.c.sequence)).where(*_HERE).scalar_subquery()
# The latest change first: what a lead gave up, only one that the batch changed later can have of it. And not all that are left:
# before PostgreSQL knows the table, it would sort them for each chunk.
_NEXT = (
    sa.select(*(_TARGET.c[name] for name in _PLACE))
    .where(*_HERE, _TARGET.c.sequence > _LAST - sa.bindparam("part", type_=sa.BigInteger))
    .order_by(*(_TARGET.c[name].desc() for name in _PLACE))
    .limit(sa.bindparam("most", type_=sa.Integer))
)
# So all that come after the last of those: a list of them PostgreSQL compares with every lead that is left, before it knows the table.
_STRUCK = sa.delete(_TARGET).where(
    *_HERE, _place >= sa.tuple_(sa.bindparam("from", type_=sa.BigInteger), sa.bindparam("least", type_=sa.Text))
)


@cache
def _struck_along(*, postgres: bool) -> sa.Delete:
    given = unpacked(_TARGET, _PLACE, postgres=postgres)
    return sa.delete(_TARGET).where(*_HERE, _place.in_(sa.select(*(given.c[name] for name in _PLACE))))


async def deltas_of(work: Work, payload: Mapping[str, Any], lead_ids: Collection[str], *, brief: bool = False) -> dict[str, Delta]:
    """Read off the log what the batch did to these leads; `brief`: of one that it created outside of campaigns, no more than that."""
    deltas = {lead_id: Delta() for lead_id in lead_ids}
    if deltas:
        leads = {"leads": listed(lead_ids, postgres=work.postgres)}
        told = await work.rows(_told(brief=brief, postgres=work.postgres), {**_binds(payload), **leads})
        # Sorted here: asked for in their order, SQLite would walk the whole log for it.
        for row in sorted(told, key=itemgetter("sequence")):
            deltas[row["lead_id"]].add(row)
    return deltas


def of_leads(table: sa.Table, columns: Sequence[sa.ColumnElement[Any]], *where: sa.ColumnElement[bool], postgres: bool) -> sa.Select[Any]:
    """Read what a table holds of leads, `:leads`.

    Lead by lead, each from the index of leads: with a list of them PostgreSQL would read all that a batch wrote, once for each chunk.
    """
    where = (table.c.workspace_id == sa.bindparam("workspace"), *where)
    if not postgres:
        return sa.select(*columns).where(*where, among(table.c.lead_id, "leads", postgres=False))
    lead = sa.func.unnest(sa.bindparam("leads", type_=pg.ARRAY(sa.Text))).table_valued("lead_id").render_derived("one")
    each = sa.select(*columns).where(*where, table.c.lead_id == lead.c.lead_id).offset(sa.literal_column("0")).lateral("each")
    return sa.select(each).select_from(lead, each)


# A sum, for which no index stands: else either database may read all that the batch wrote, once for each lead or each chunk.
_WITHIN = (ACTIVITY.c.sequence + sa.literal_column("0")).between(_FROM, _TO)


@cache
def _told(*, brief: bool, postgres: bool) -> sa.Select[Any]:
    changes: sa.ColumnElement[Any] = ACTIVITY.c.changes
    if brief:
        text: Any = sa.cast(changes, sa.Text) if postgres else sa.type_coerce(changes, sa.Text)
        joined = (sa.func.strpos if postgres else sa.func.instr)(text, sa.literal_column("""'"field":"campaigns"'"""))
        created = ACTIVITY.c.kind == sa.literal_column(f"'{ActivityKind.LEAD_CREATED}'")
        changes = sa.case((sa.and_(created, joined == sa.literal_column("0")), sa.null()), else_=changes).label("changes")
    columns = [ACTIVITY.c.lead_id, ACTIVITY.c.kind, ACTIVITY.c.sequence, changes]
    return of_leads(ACTIVITY, columns, *_OF_BATCH, _WITHIN, postgres=postgres)


async def along_with(work: Work, payload: Mapping[str, Any], lead_ids: Collection[str]) -> dict[str, Delta]:
    """Give what the batch did to those of these leads that the undo still has before it, each with its `place`."""
    asked = {**_binds(payload), "leads": listed(lead_ids, postgres=work.postgres)}
    places = {row["lead_id"]: row["sequence"] for row in await work.rows(_still_left(postgres=work.postgres), asked)}
    along = await deltas_of(work, payload, places)
    for lead_id, place in places.items():
        along[lead_id].place = place
    return along


@cache
def _still_left(*, postgres: bool) -> sa.Select[Any]:
    # Each stands there by one of its numbers in the log.
    still = sa.select(_TARGET.c.sequence).where(*_HERE, _TARGET.c.sequence == ACTIVITY.c.sequence, _TARGET.c.lead_id == ACTIVITY.c.lead_id)
    # No `EXISTS`: PostgreSQL makes it a join, and may then look for the lead alone, through all that are left.
    there = still.scalar_subquery().is_not(None)
    return of_leads(ACTIVITY, [ACTIVITY.c.lead_id, ACTIVITY.c.sequence], *_OF_BATCH, _WITHIN, there, postgres=postgres)
