"""Files for `leadgraph import`, and a workspace that takes them."""

import csv
import io
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from program import Ended, leadgraph
from sqlmodel import SQLModel

from app.actions.work import Caller, Role, Work
from app.database import Database, table_of
from app.rules.people import MadeRow

SUMMARY = ["total", "created", "updated", "unchanged", "skipped", "failed", "deleted"]
PLAIN = {
    "firstName": "firstName",
    "lastName": "lastName",
    "email": "email",
    "company": "company",
    "position": "title",
    "linkedinUrl": "linkedinUrl",
}
EXCEL = {
    "E-mail Address": "email",
    "Company Name": "company",
    "first_name": "firstName",
    "Last Name": "lastName",
    "Position": "title",
    "LinkedIn": "linkedinUrl",
    "phone_number": "phone",
}


def write_csv(
    file: Path, columns: dict[str, str], rows: Sequence[MadeRow], *, separator: str = ",", mark: bytes = b"", ending: str = "\n"
) -> Path:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=ending)
    writer.writerow(columns)
    writer.writerows([row.cells[field] for field in columns.values()] for row in rows)
    file.write_bytes(mark + out.getvalue().encode())
    return file


@dataclass(frozen=True)
class Place:
    """A workspace of the test's own, and the command line that imports into it."""

    slug: str
    caller: Caller
    database: Database

    def run(self, file: Path, *options: object) -> Ended:
        return leadgraph("import", file, "--workspace", self.slug, *options, LEADGRAPH_DATABASE_URL=self.database.settings.database_url)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        async with self.database.writing() as connection:
            yield Work(connection, self.caller)

    async def rows(self, model: type[SQLModel], order: str = "id") -> list[dict[str, Any]]:
        table = table_of(model)
        async with self.work() as work:
            return await work.rows(sa.select(table).where(table.c.workspace_id == sa.bindparam("workspace")).order_by(table.c[order]))


def new_place(database: Database) -> Place:
    slug = f"import-{secrets.token_hex(6)}"
    made = leadgraph("workspace", "create", slug, LEADGRAPH_DATABASE_URL=database.settings.database_url)
    assert made.code == 0
    return Place(slug, Caller(workspace_id=made.out.strip(), role=Role.ADMIN), database)


def counts_of(ended: Ended) -> dict[str, int]:
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told.pop("batchId") is None or told["total"]
    counts: dict[str, int] = told
    assert list(counts) == SUMMARY
    assert counts["total"] == sum(counts.values()) - counts["total"]
    return counts
