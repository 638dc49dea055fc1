"""The statement of a root field, one object, many by id, a list, figures, and what makes the answer of its rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
from graphql import GraphQLObjectType, get_named_type
from orjson import Fragment

import schema.planner.stats  # noqa: F401  (it says how its kind of field is built)
from app.actions.work import Caller, Role
from app.errors import BadUserInput, shown
from app.look_ups import LookUp
from app.rules.emails import fold_email
from app.rules.ids import PREFIXES, prefix_of
from app.tables import Lead
from schema.planner import bindings as b
from schema.planner.arrays import columns
from schema.planner.columns import Columns
from schema.planner.compiler import LISTS, Arguments, Compiler, Details, Document, ListField, ahead
from schema.planner.connections import Finish
from schema.planner.dialects import Expression, Kind, Leaf
from schema.planner.origins import BindValues
from schema.planner.postgres import POSTGRES
from schema.planner.shapes import compact, shaper, written
from schema.planner.sqlite import SQLITE

#: The name under which the ids of a reply's objects stand among the variables; no document can have it.
REPLY_IDS = "ids of the reply"


class Root:
    """Builds the statement of a root field."""

    def __init__(
        self, bindings: b.Bindings, document: Document, details: Details, path: str, caller: Caller, postgres: bool, values: BindValues
    ) -> None:
        self.bindings, self.document, self.details, self.path, self.caller = bindings, document, details, path, caller
        self.postgres = postgres
        self.on = Compiler(document, bindings, POSTGRES if postgres else SQLITE, values, caller.role is Role.ADMIN)
        #: The statement that finds many rows of the kind by their keys, and the key's bind; None where there is no such thing.
        self._many: tuple[sa.Select[*tuple[Any, ...]], str] | None = None

    def look_up(self, sql: str, order: Sequence[str]) -> LookUp | None:
        """Tell how a row is found together with others: where its key and the workspace are all that is bound, and nothing is guarded."""
        if self._many is None or len(order) != 2:
            return None
        statement, key = self._many
        many = statement.compile(dialect=self.on.dialect.core)
        if self.on.guarded or {*order} != {"workspace", key} or many.positiontup != order:
            return None
        return LookUp(sql, str(many), order.index(key))

    def build(self) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Give the statement, and what makes the answer of its rows."""
        query = self.document.schema.query_type
        if query is None:
            raise TypeError("a schema without queries")
        name = self.details[0].node.name.value
        spec = self.bindings.types[query.name][name].spec
        args = self.on.arguments(query, self.details, self.path)
        type_ = get_named_type(query.fields[name].type)
        if not isinstance(type_, GraphQLObjectType):
            return self._nodes(args, many=isinstance(spec, b.AnyNode) and spec.many)
        if isinstance(spec, b.Many):
            self.caller.require(spec.needs)
        if type(spec) in LISTS:
            list_field = ListField(spec, type_, self.details, args, None)
            if self.postgres and isinstance(spec, b.Many):
                return Columns(self.on, list_field).columns()
            return self._single(LISTS[type(spec)](self.on, list_field))
        row, inside = self.on.scope.table(spec.model if isinstance(spec, b.ById | b.Own) else Lead)
        chosen = sa.select().select_from(row).where(inside)
        if isinstance(spec, b.ById):
            make = partial(_exact, path=f"{self.path}.{spec.argument}")
            return self._by_key(chosen, row, type_, "id", self.on.leaf(args.origins[spec.argument], make, sa.Text))
        if isinstance(spec, b.ByReference):
            return self._by_key(chosen, row, type_, *self._referred(args))
        if not isinstance(spec, b.Own):
            raise TypeError(f"Query.{name} has no SQL")
        return self._row(chosen, row, type_)

    def _by_key(
        self, query: sa.Select[Any], row: b.Row, type_: GraphQLObjectType, column: str, key: Any
    ) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """One object by a key that no two of the workspace share."""
        statement, finish = self._row(query.where(row.c[column] == key), row, type_)
        if self.postgres and isinstance(key, sa.BindParameter):
            keys = sa.bindparam(key.key, type_=self.on.dialect.list_of(sa.Text()))
            many = query.where(self.on.dialect.among(row.c[column], keys)).add_columns(*statement.selected_columns, row.c[column])
            self._many = (many, key.key)
        return statement, finish

    def _referred(self, args: Arguments) -> tuple[str, Any]:
        """Find the lead that a `LeadRef` names, as the one key that it has says: its column, and the value."""
        [(key, _value)] = args.values["by"].items()
        exact = partial(_exact, path=f"{self.path}.by.{key}")
        column = {"id": "id", "crmId": "crm_id", "email": "email_key"}[key]

        def make(text: Any) -> str:
            return fold_email(exact(text).strip()) if key == "email" else exact(text)

        return column, self.on.leaf(args.origins["by"].child(key), make, sa.Text)

    def _row(self, query: sa.Select[Any], row: b.Row, type_: GraphQLObjectType) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """One object: a column a field on PostgreSQL, JSON on SQLite."""
        fields = self.on.fields(type_, self.details, row, self.path)
        if not self.postgres:
            return self._single(self.on.dialect.one(fields, query, row, None))
        dialect = self.on.dialect
        guarded = self.on.guarded
        columns = [dialect.outermost(leaf).label(f"c{place}") for place, leaf in enumerate(fields.values())]
        shape = shaper([(key, place, leaf.is_json) for place, (key, leaf) in enumerate(fields.items())])
        if guarded:
            columns.append(sa.or_(*self.on.guards).label("guard"))

        def finish(rows: list[Any], _values: BindValues) -> Any:
            if not rows:
                return None
            if guarded and rows[0][-1]:
                raise ahead(guarded)
            return written(shape(rows[0]))

        return query.add_columns(*columns), finish

    def _single(self, tree: Expression) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """One JSON value."""
        guarded = self.on.guarded
        postgres = self.postgres

        def finish(rows: list[Any], _values: BindValues) -> Any:
            text = rows[0][0]
            if text is None:
                return None  # there is no such object, whatever was asked of it
            if guarded and rows[0][1]:
                raise ahead(guarded)
            return compact(text) if postgres else Fragment(text.encode())

        guard = [sa.or_(*self.on.guards)] if guarded else []
        return sa.select(self.on.dialect.outermost(Leaf(tree, Kind.TREE)), *guard), finish

    def columns(self) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Give the statement of a list, and what makes columns of the arrays in its one row."""
        query, name = self.on.named("Query"), self.details[0].node.name.value
        spec, type_ = self.bindings.types[query.name][name].spec, get_named_type(query.fields[name].type)
        if not isinstance(spec, b.Many) or not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"Query.{name} is no list")
        self.caller.require(spec.needs)
        return columns(self.on, ListField(spec, type_, self.details, self.on.arguments(query, self.details, self.path), None))

    def _nodes(self, args: Arguments, *, many: bool) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Objects by id, whatever their types: which types there are is what the ids' prefixes say."""
        origin = args.origins["ids" if many else "id"]
        by_prefix = {PREFIXES[name]: name for name in self.bindings.models if name in PREFIXES}
        path = f"{self.path}.{'ids' if many else 'id'}"

        def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
            asked = origin.get(values.variables)
            ids = [_exact(text, f"{path}[{place}]") for place, text in enumerate(asked)] if many else [_exact(asked, path)]
            if len(ids) > 200:
                raise BadUserInput(f"{path}: {len(ids)} ids, at most 200", argument=path)
            prefixes = frozenset(prefix for text in ids if (prefix := prefix_of(text)) in by_prefix)
            return prefixes, (ids,)

        prefixes, place = self.on.probe(look)
        names = [by_prefix[prefix] for prefix in sorted(prefixes)]
        return self.by_ids(names, many=many, ids=self.on.found(place, 0, self.on.dialect.list_of(sa.Text())), place=place)

    def by_ids(self, names: list[str], *, many: bool | None, ids: Expression | None = None, place: int = 0) -> tuple[Any, Finish]:
        """Rows of (id, object); `many` says whether a list, one object, or (None) all by id are wanted."""
        if ids is None:
            ids = self.on.bind(lambda values: values.variables[REPLY_IDS], self.on.dialect.list_of(sa.Text()))
        parts = []
        for name in names:
            row, inside = self.on.scope.table(self.bindings.models[name])
            type_ = self.on.named(name)
            fields = self.on.fields(type_, self.details, row, self.path)
            where = [inside, self.on.dialect.among(row.c.id, ids), *self.on.visible(name, row)]
            whole = self.on.dialect.outermost(Leaf(self.on.dialect.inline(fields, row), Kind.TREE))
            parts.append(sa.select(row.c.id, whole.label("object")).select_from(row).where(*where))
        if not parts:
            # Ids of no known type: still the one statement of a root field, and an empty one.
            workspace, inside = self.on.scope.table(self.bindings.models["Workspace"])
            parts = [sa.select(workspace.c.id, sa.null()).where(inside, sa.false())]
        guards, guarded = self.on.guards, self.on.guarded
        statement: Any = parts[0] if len(parts) == 1 else sa.union_all(*parts)
        if guards:
            whole = statement.subquery()
            one = sa.select(sa.or_(*guards).label("guard")).subquery()
            statement = sa.select(whole.c.id, whole.c.object, one.c.guard).select_from(one.outerjoin(whole, sa.true()))
        postgres = self.postgres

        def finish(rows: list[Any], values: BindValues) -> Any:
            if guarded and rows[0][2]:
                raise ahead(guarded)
            found = {row[0]: compact(row[1]) if postgres else Fragment(row[1].encode()) for row in rows if row[0] is not None}
            if many is None:
                return found
            asked = values.found[place][0]
            if many:
                return Fragment(orjson.dumps([found.get(text) for text in asked]))
            return found.get(asked[0])

        return statement, finish


def _exact(text: Any, path: str) -> str:
    """Check an id or another exact text: what no text can hold is refused, all else simply is not found."""
    if "\0" in text:
        raise BadUserInput(f"{path} {shown(text)}: a NUL is in no text", argument=path)
    return str(text)
