"""Migrations make what the tables say, once, on either database."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from app import migrations
from app.actions import batches, upserts
from app.actions.work import Work
from app.database import Database, table_of
from app.settings import Settings
from app.tables import SQLITE_SEARCH, BatchLead, Lead


def other_type(context, _inspected_column, _column, found, meant):
    """Compare what the database makes of both: a text without a length is one by either name."""
    made, meant = (type_.compile(context.dialect).replace("VARCHAR", "TEXT") for type_ in (found, meant))
    return made != meant


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
async def test_the_migrations_make_the_tables(database):
    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": other_type})
        found = compare_metadata(context, SQLModel.metadata)
        # See the next test.
        return [change for change in found if "lead_search" not in str(change)]

    async with database.writing() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_migrations_make_the_search_index(database):
    """Which no comparison of models tells: on SQLite no model stands for it, on PostgreSQL it is an index on an expression."""
    asked = {
        True: "SELECT replace(indexdef, indexname, 'lead_search') FROM pg_indexes WHERE tablename = 'lead' AND indexdef LIKE '%USING gin%'",
        False: "SELECT sql FROM sqlite_master WHERE name = 'lead_search'",
    }
    async with database.writing() as connection:
        made = (await connection.exec_driver_sql(asked[database.is_postgres])).scalars().all()
        meant = SQLITE_SEARCH
        if database.is_postgres:
            await connection.exec_driver_sql("DROP INDEX lead_search")
            await connection.run_sync(next(index for index in table_of(Lead).indexes if index.name == "lead_search").create)
            [meant] = (await connection.exec_driver_sql(asked[True])).scalars().all()
        assert made == [meant]


async def test_migrating_again_changes_nothing(database):
    await migrations.upgrade(database)
    await migrations.check(database)


async def test_how_far_it_has_come_is_told_after_each_migration(tmp_path):
    new = Database(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"))
    told = []
    await migrations.upgrade(new, told.append)
    await migrations.upgrade(new, told.append)
    await new.close()
    count = len(migrations.known())
    assert told == [done / count for done in range(1, count + 1)]


async def test_a_newer_database_is_refused(database):
    async with database.writing() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from the future'")
    try:
        for refuses in (migrations.upgrade, migrations.check):
            with pytest.raises(migrations.SchemaTooNew):
                await refuses(database)
    finally:
        async with database.writing() as connection:
            await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{migrations.newest()}'")


async def test_texts_in_attributes_of_older_leads_are_folded_as_new_ones_are(database, caller):
    """The rows as the version before left them, more than one chunk's."""
    lead = table_of(Lead)
    mine = lead.c.workspace_id == sa.bindparam("workspace", caller.workspace_id)
    rows = [{"crmId": str(number), "attributes": {"a": f"É{number}", "b": "plain", "c": 1, "d": ["É"]}} for number in range(6)]
    async with database.writing() as connection:
        await upserts.upsert_many(Work(connection, caller, "req_1"), [*rows, {"crmId": "bare"}])
    everyone = sa.select(lead.c.crm_id, lead.c.attributes_folded).where(mine).order_by(lead.c.crm_id)
    async with database.writing() as connection:
        before = (await connection.execute(everyone)).all()

    def again(sync):
        script = ScriptDirectory(str(migrations.VERSIONS.parent)).get_revision("0002").module
        script.CHUNK = 4
        with Operations.context(MigrationContext.configure(sync)) as operations:
            operations.drop_column("lead", "attributes_folded")
            script.fold_attributes()

    async with database.writing() as connection:
        await connection.run_sync(again)
    async with database.writing() as connection:
        after = (await connection.execute(everyone)).all()
    assert before[0] == ("0", {"a": "e0"})
    assert before[-1] == ("bare", None)
    assert after == before


async def test_what_a_batch_has_before_it_outlives_the_new_key(database, caller):
    """The table as the version before left it, an undo under way."""
    left = table_of(BatchLead)
    mine = left.c.workspace_id == sa.bindparam("workspace", caller.workspace_id)
    async with database.writing() as connection:
        work = Work(connection, caller, "req_1")
        batch_id = await batches.open_batch(work, batches.BatchKind.UNDO)

        def again(sync):
            script = ScriptDirectory(str(migrations.VERSIONS.parent)).get_revision("0012").module
            sync.exec_driver_sql("DROP TABLE batch_lead")
            sync.exec_driver_sql("CREATE TABLE batch_lead (workspace_id TEXT, batch_id TEXT, lead_id TEXT)")
            sync.exec_driver_sql(f"INSERT INTO batch_lead VALUES ('{work.workspace}', '{batch_id}', 'lead_1')")
            with Operations.context(MigrationContext.configure(sync)):
                script.upgrade()
            # As a server of the version before takes one down.
            names = "workspace_id, batch_id, lead_id"
            sync.exec_driver_sql(f"INSERT INTO batch_lead ({names}) VALUES ('{work.workspace}', '{batch_id}', 'lead_2')")

        await connection.run_sync(again)
        found = (await connection.execute(sa.select(left).where(mine).order_by(left.c.lead_id))).mappings().all()
        kept = {"workspace_id": work.workspace, "batch_id": batch_id, "sequence": 0}
        assert found == [{**kept, "lead_id": lead_id} for lead_id in ("lead_1", "lead_2")]
        await connection.execute(sa.delete(left).where(mine))


#: SQLite's search index as two versions before had it.
WITHOUT_MOMENTS = (
    "CREATE VIRTUAL TABLE lead_search USING fts5(workspace_id UNINDEXED, lead_id UNINDEXED, words, tokenize = 'ascii', prefix = '2 3')"
)


async def test_the_search_index_of_older_leads_is_made_anew_as_it_was_with_their_moments(database, caller):
    """On PostgreSQL there is nothing to do."""
    if database.is_postgres:
        return
    rows = [{"crmId": str(number), "company": f"Firm {number}"} for number in range(6)]
    async with database.writing() as connection:
        await upserts.upsert_many(Work(connection, caller, "req_1"), rows)

    def again(sync):
        found = "SELECT rowid, workspace_id, lead_id, created_at, words FROM lead_search ORDER BY rowid"
        matched = 'SELECT rowid FROM lead_search WHERE lead_search MATCH \'"fir" * AND "3" *\' ORDER BY rowid'
        before, hits = sync.exec_driver_sql(found).all(), sync.exec_driver_sql(matched).all()
        sync.exec_driver_sql("ALTER TABLE lead_search RENAME TO kept")
        sync.exec_driver_sql(WITHOUT_MOMENTS)
        columns = "rowid, workspace_id, lead_id, words"
        sync.exec_driver_sql(f"INSERT INTO lead_search ({columns}) SELECT {columns} FROM kept")
        sync.exec_driver_sql("DROP TABLE kept")
        scripts = ScriptDirectory(str(migrations.VERSIONS.parent))
        with Operations.context(MigrationContext.configure(sync)):
            for revision in ("0010", "0011"):
                scripts.get_revision(revision).module.upgrade()
                assert sync.exec_driver_sql(found).all() == before
                assert sync.exec_driver_sql(matched).all() == hits
        assert sync.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'lead_search'").scalar_one() == SQLITE_SEARCH
        assert hits
        return len(before)

    async with database.writing() as connection:
        assert await connection.run_sync(again) >= len(rows)
