from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from app.rules.written import copy_line

VALUES = ["plain", "a\tb", "a\nb\r\nc", "\\", "\\N", "\\.", "\\t", '{"a": "\\"x\\""}', "", "Ünï😀", None]


async def test_copy_reads_what_was_written(work):
    if not work.postgres:
        pytest.skip("COPY is PostgreSQL's")
    await work.connection.execute(
        sa.text("CREATE TEMPORARY TABLE copied (place int, value text, fits bool, at timestamptz) ON COMMIT DROP")
    )
    at = datetime(2026, 1, 20, 10, 0, 0, 5, UTC)
    lines = b"".join(copy_line((place, value, place % 2 == 0, at)) + b"\n" for place, value in enumerate(VALUES))
    raw = (await work.connection.get_raw_connection()).driver_connection

    async def source():
        yield lines

    await raw.copy_to_table("copied", source=source())
    rows = (await work.connection.execute(sa.text("SELECT * FROM copied ORDER BY place"))).all()
    assert [tuple(row) for row in rows] == [(place, value, place % 2 == 0, at) for place, value in enumerate(VALUES)]
