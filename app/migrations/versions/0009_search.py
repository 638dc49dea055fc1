"""The beginnings of words in PostgreSQL's search index: a search for several words need not gather all that begin as each of them."""

from alembic import op

revision = "0009"
down_revision = "0008"

_BEGINNINGS = ", ".join(f"left(split_part(search_text, ' ', {place}), 3)" for place in range(1, 13))
_OTHERS = "CASE WHEN (split_part(search_text, ' ', 13) = '') THEN '' ELSE '*' END"
_WORDS = f"string_to_array(search_text, ' ') || ARRAY[{_BEGINNINGS}, {_OTHERS}]"


def upgrade() -> None:
    """Make the index anew; SQLite's has beginnings of two and three letters since it was made."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX lead_search")
        op.execute(f"CREATE INDEX lead_search ON lead USING gin (array_to_tsvector(array_remove({_WORDS}, '')))")
