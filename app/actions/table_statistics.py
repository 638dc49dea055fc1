"""What PostgreSQL knows of its tables, brought up to date after many rows: its own upkeep comes by in minutes, or never where it is off."""

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from app.actions.work import Work
from app.database_errors import told

logger = structlog.get_logger("leadgraph.actions")

#: Fewer rows than this are not worth a look.
MANY_ROWS = 10_000
#: By how much of itself a table has grown when it is looked at again: as the server's own upkeep (`autovacuum_analyze_scale_factor`).
_GROWN = 0.1

_KNOWN = sa.text("SELECT min(reltuples) AS known FROM pg_class WHERE oid IN ('lead'::regclass, 'activity'::regclass)")
_ANALYZE = sa.text("ANALYZE lead, activity, campaign_lead")
#: Whoever changes the table itself holds what it takes to look at it: that is not waited for.
_PATIENCE = sa.text("SET LOCAL lock_timeout = '2s'")
_AS_EVER = sa.text("SET LOCAL lock_timeout TO DEFAULT")  # it would hold for the rest of the transaction


async def renew(work: Work, written: int) -> bool:
    """Have PostgreSQL look at the leads and their log if so many rows are a good part of them, as its manual advises after a bulk load.

    Tells whether it tried: nothing depends on it, and what goes wrong is logged alone. Of a table that nobody has looked at it takes a
    thousand leads for five, and reads and sorts all for a page.
    """
    if not work.postgres or written < MANY_ROWS:
        return False
    [row] = await work.rows(_KNOWN)
    if row["known"] * _GROWN > written:
        return False
    try:
        async with work.connection.begin_nested():
            await work.run(_PATIENCE)
            await work.run(_ANALYZE)
            await work.run(_AS_EVER)
    except DBAPIError as error:
        logger.warning("tables.not_analyzed", error=told(error))
    return True
