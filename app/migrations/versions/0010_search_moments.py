"""When a lead was created, in SQLite's search index: what a search finds is sorted before it is looked up."""

from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = "workspace_id UNINDEXED, lead_id UNINDEXED, created_at UNINDEXED, words, tokenize = 'ascii', prefix = '2 3'"


def upgrade() -> None:
    """Make the index anew: such a table takes no further column."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ALTER TABLE lead_search RENAME TO lead_search_before")
        connection.exec_driver_sql(f"CREATE VIRTUAL TABLE lead_search USING fts5({COLUMNS})")
        connection.exec_driver_sql(
            "INSERT INTO lead_search (rowid, workspace_id, lead_id, created_at, words)"
            " SELECT before.rowid, before.workspace_id, before.lead_id, lead.created_at, before.words FROM lead_search_before before"
            " JOIN lead ON lead.workspace_id = before.workspace_id AND lead.id = before.lead_id ORDER BY before.rowid"
        )
        connection.exec_driver_sql("DROP TABLE lead_search_before")
