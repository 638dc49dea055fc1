"""Law 4, held for every statement that Core compiles while the tests run: each table in it has its own workspace predicate.

The compiler itself is watched, so that neither the planner's statements nor those of raw readers escape. Statements that are written
as text (`sa.text`) are read as text. What goes to the driver without a compiler is not seen: `test_walls.py` says what there is of that.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.sql import compiler
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.elements import BindParameter, ClauseElement
from sqlalchemy.sql.selectable import CompoundSelect, Join
from sqlmodel import SQLModel

from app.actions import automation_runs, idempotency, jobs, table_statistics, users, webhooks, workspaces
from app.tables import Workspace

#: What may look beyond one workspace, and why. Statements are named by the object, or by what only they ask.
EXCEPTIONS: dict[str, Callable[[ClauseElement, str], bool]] = {
    "claiming jobs": lambda statement, _sql: (
        statement in (jobs._CLAIM, jobs._FOUND, jobs._ANY_DUE, *automation_runs.RUNS.across, *webhooks.DELIVERIES.across)
    ),
    "clearing what has expired": lambda statement, _sql: statement in (idempotency.ANY_EXPIRED.statement, idempotency.CLEAR),
    "finding a user's workspaces": lambda statement, _sql: statement is users._BY_EMAIL,
    "finding a workspace by its slug": lambda statement, _sql: statement is workspaces.BY_SLUG,
    "the jobs of other tests, cancelled so that a worker under test finds its own": lambda _statement, sql: (
        sql.startswith(("UPDATE job SET status=", "UPDATE automation_run SET status=", "UPDATE webhook_delivery SET status="))
        and "WHERE" not in sql
    ),
    "looking at whole tables for the planner's sake": lambda statement, _sql: (
        statement in (table_statistics._KNOWN, table_statistics._ANALYZE)
    ),
    "the tables of Alembic and of the test": lambda _statement, sql: "alembic_version" in sql or "sqlite_master" in sql,
}

#: `viewer.workspaces` reads the rows of those workspaces that the caller's token opens, by their ids.
_CHOSEN = "workspace"
_TENANT = SQLModel.metadata.tables[str(Workspace.__tablename__)].c.id

_OURS = frozenset(SQLModel.metadata.tables.values())
#: SQLite's search index, which no model stands for.
_INDEX = "lead_search"
_NAMES = frozenset({_INDEX, *SQLModel.metadata.tables})

unwalled: list[str] = []
_seen: set[str] = set()
#: Compiles nothing. `Select.get_final_froms` asks a new one for each subquery, and compiles that whole each time.
_IDLE = compiler.StrSQLCompiler(StrCompileDialect(), None)


def watch_compiler() -> None:
    """Check every statement from now on, once."""
    start = compiler.SQLCompiler.__init__

    def watched(self: Any, dialect: Any, statement: Any, *args: Any, **kwargs: Any) -> None:
        start(self, dialect, statement, *args, **kwargs)
        kinds = sa.Select | CompoundSelect | Insert | Update | Delete | sa.TextClause | sa.TextualSelect
        if isinstance(statement, kinds) and self.string not in _seen:
            _seen.add(self.string)
            unwalled.extend(holes(statement, self.string))

    compiler.SQLCompiler.__init__ = watched  # type: ignore[method-assign]


def holes(statement: ClauseElement, sql: str) -> list[str]:
    """Name the tables of a statement that have no predicate of their own, unless the statement is an exception."""
    if any(excepted(statement, sql) for excepted in EXCEPTIONS.values()):
        return []
    return [f"{name} in: {' '.join(sql.split())[:400]}" for name in _open_tables(statement, frozenset(), {})]


def _open_tables(element: Any, outer: frozenset[Any], seen: dict[tuple[int, frozenset[Any]], Any]) -> Iterator[str]:
    # A subquery hangs below every column that is taken from it: seen once, or the walk would double with each level.
    if (id(element), outer) in seen:
        return
    seen[id(element), outer] = element  # held, so that no other gets its id meanwhile
    inner = outer
    if isinstance(element, sa.Select):
        sources = element._compile_state_factory(element, _IDLE)._get_display_froms()
        own = [table for source in sources for table in _tables(source) if table not in outer]
        conditions = [*element._where_criteria, *(join.onclause for source in sources for join in _joins(source))]
        yield from (_name(table) for table in own if not _walled(table, conditions))
        inner = outer | frozenset(own)
    elif isinstance(element, Update | Delete):
        if _is_ours(element.table) and not _walled(element.table, list(element._where_criteria)):
            yield _name(element.table)
        inner = outer | {element.table}
    elif isinstance(element, Insert):
        inner = outer | {element.table}
    elif isinstance(element, sa.TextClause):
        yield from _open_in_text(element.text)
    for child in element.get_children():
        yield from _open_tables(child, inner, seen)


def _is_ours(table: Any) -> bool:
    return table in _OURS or getattr(table, "name", None) == _INDEX


#: Where a text names a table: to read or change its rows, or to add some.
_NAMED = re.compile(r"\b(?:FROM|JOIN|UPDATE)\s+(\w+)|\bINSERT\s+INTO\s+(\w+)", re.IGNORECASE)
_WALL_IN_TEXT = re.compile(r"\bworkspace_id\s*=\s*:workspace\b")


def _open_in_text(text: str) -> Iterator[str]:
    """Name the tables of a text beyond as many as it has predicates; rows are added by `:workspace`, wherever that stands."""
    found = [(read, added) for read, added in _NAMED.findall(text) if (read or added).lower() in _NAMES]
    yield from [read for read, _ in found if read][len(_WALL_IN_TEXT.findall(text)) :]
    yield from (added for _, added in found if added and ":workspace" not in text)


def _tables(source: Any) -> Iterator[Any]:
    if isinstance(source, Join):
        yield from _tables(source.left)
        yield from _tables(source.right)
    elif _is_ours(getattr(source, "element", source)):
        yield source


def _joins(source: Any) -> Iterator[Join]:
    if isinstance(source, Join):
        yield source
        yield from _joins(source.left)
        yield from _joins(source.right)


def _walled(table: Any, conditions: list[Any]) -> bool:
    column = table.c.id if _name(table) == Workspace.__tablename__ else table.c.workspace_id
    return any(_is_wall(condition, column) for clause in conditions for condition in _conjuncts(clause))


def _conjuncts(clause: Any) -> Iterator[Any]:
    if getattr(clause, "operator", None) is sa.sql.operators.and_:
        for part in clause.clauses:
            yield from _conjuncts(part)
    elif type(clause).__name__ == "Grouping":
        yield from _conjuncts(clause.element)
    else:
        yield clause


def _is_wall(condition: Any, column: Any) -> bool:
    sides = (getattr(condition, "left", None), getattr(condition, "right", None))
    if column.name == "id" and any(side is column for side in sides) and "workspace" not in _bind_names(condition):
        # `viewer.workspaces`: the ids that the token opens are one bind.
        return any(isinstance(part, BindParameter) for part in sa.sql.visitors.iterate(condition))
    if not any(side is column for side in sides) or getattr(condition, "operator", None) is not sa.sql.operators.eq:
        return False
    other = sides[1] if sides[0] is column else sides[0]
    # Inside `viewer.workspaces` the workspace is the row's own.
    return (isinstance(other, BindParameter) and other.key == _CHOSEN) or _TENANT in getattr(other, "proxy_set", ())


def _bind_names(condition: Any) -> set[str]:
    return {part.key for part in sa.sql.visitors.iterate(condition) if isinstance(part, BindParameter)}


def _name(table: Any) -> str:
    return str(getattr(table, "element", table).name)
