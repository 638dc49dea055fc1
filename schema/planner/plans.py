"""The way in: find or compile the plan of a root field, bind, run, shape.

A plan is kept by (document, operation, response key, role, shape of the variables) and by what its probes saw. A repeated
operation compiles nothing: its values are bound, one statement runs, and the answer is JSON.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
from graphql import GraphQLObjectType, GraphQLSchema, Visitor, get_named_type, visit
from graphql.execution.collect_fields import FieldDetails
from orjson import Fragment

import schema.planner.stats  # noqa: F401  (it says how its kind of field is built)
from app.actions.work import Caller, Role
from app.errors import BadUserInput, shown
from app.readers import Reading
from app.rules.emails import fold_email
from app.rules.ids import PREFIXES, prefix_of
from app.tables import Lead
from schema.planner import bindings as b
from schema.planner.compiler import LISTS, Arguments, Compiler, Details, Document, ListField, ahead
from schema.planner.connections import Connection, Finish
from schema.planner.dialects import Expression, Kind, Leaf
from schema.planner.origins import Bind, BindValues, Probe, shape_of
from schema.planner.postgres import POSTGRES
from schema.planner.shapes import compact, shaper
from schema.planner.sqlite import SQLITE

#: What a bind takes in memory: functions, and the place of its value.
_OF_BIND = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement, where its binds come from, and what makes the answer of its rows."""

    sql: str
    binds: tuple[Bind, ...]
    finish: Finish
    postgres: bool
    #: Binds that the statement came to do without: their values are checked all the same.
    checks: tuple[Bind, ...] = ()

    @property
    def written(self) -> int:
        """Count the characters of the statement, and as many for each of its binds as these take beside it."""
        return len(self.sql) + _OF_BIND * (len(self.binds) + len(self.checks))

    async def run(self, reading: Reading, values: BindValues) -> Any:
        """Run it, and give JSON that is ready to be sent (or None)."""
        dialect = POSTGRES if self.postgres else SQLITE
        for check in self.checks:
            check.make(values)
        return self.finish(await reading.rows(self.sql, [dialect.bound(bind.make(values)) for bind in self.binds]), values)


@dataclass(slots=True)
class _Family:
    """The plans of one document, field and shape: they differ in what their probes see.

    What one probe saw may decide which comes next (a `node` of another type has other lists in it), so each is kept under
    the pattern that was seen before it.
    """

    probes: dict[tuple[Any, ...], Probe] = field(default_factory=dict)
    plans: dict[tuple[Any, ...], Plan] = field(default_factory=dict)
    #: Characters of the document and of all its statements.
    written: int = 0


class Plans:
    """Compiled plans, the latest used first; bounded in number, and in the characters of their documents and statements."""

    def __init__(self, schema: GraphQLSchema, size: int = 1_000, characters: int = 8_000_000) -> None:
        self.schema, self.size, self.characters = schema, size, characters
        self.bindings = b.bind(schema)
        self.hits = self.misses = self._count = self._written = 0
        self._families: OrderedDict[tuple[Any, ...], _Family] = OrderedDict()
        self._variables: OrderedDict[tuple[Any, ...], frozenset[str]] = OrderedDict()

    def view(self, executor: Any) -> Document:
        """Give the planner's view of the request that graphql-core is executing."""
        return Document(self.schema, executor.operation, executor.fragments, executor.variable_values)

    async def answer(self, document: Document, details: Details, path: str, caller: Caller, reading: Reading) -> Any:
        """Answer one root field of a query."""
        values = BindValues(document.variables.coerced, caller.workspace_id, caller, [])
        key = self._key(document, path, caller, reading, None)
        plan = self._find(key, values)
        if plan is None:
            plan = self._compile(key, values, _Root(self, document, details, path, caller, reading.postgres, values))
        return await plan.run(reading, values)

    async def objects(
        self, document: Document, details: Details, path: str, ids: Sequence[str], type_name: str, caller: Caller, reading: Reading
    ) -> dict[str, Fragment]:
        """Read objects of one type by id, for the selection of a field of a reply: one statement for all."""
        values = BindValues({**document.variables.coerced, _IDS: list(ids)}, caller.workspace_id, caller, [])
        # The rows of a batch are no part of it: only what the selection of the reply itself depends on.
        key = self._key(document, path, caller, reading, type_name, self._used(document, details, path))
        plan = self._find(key, values)
        if plan is None:
            root = _Root(self, document, details, path, caller, reading.postgres, values)
            plan = self._compile(key, values, root, lambda: root.by_ids([type_name], many=None))
        found: dict[str, Fragment] = await plan.run(reading, values)
        return found

    def _used(self, document: Document, details: Details, path: str) -> frozenset[str]:
        """Name the variables in the selection of a field."""
        operation = document.operation
        key = (operation.loc.source.body if operation.loc else "", operation.name.value if operation.name else None, path)
        found = self._variables.get(key)
        if found is None:
            found = self._variables[key] = variables_of(document, details)
            while len(self._variables) > self.size:
                self._variables.popitem(last=False)
        return found

    @staticmethod
    def _key(
        document: Document, path: str, caller: Caller, reading: Reading, type_name: str | None, used: frozenset[str] | None = None
    ) -> tuple[Any, ...]:
        operation = document.operation
        text = operation.loc.source.body if operation.loc else ""
        name = operation.name.value if operation.name else None
        given = document.variables.coerced.items()
        shape = tuple((variable, shape_of(value)) for variable, value in given if used is None or variable in used)
        return text, name, path, type_name, caller.role is Role.ADMIN, reading.postgres, shape

    def _find(self, key: tuple[Any, ...], values: BindValues) -> Plan | None:
        family = self._families.get(key)
        if family is None:
            return None
        self._families.move_to_end(key)
        pattern: tuple[Any, ...] = ()
        while (probe := family.probes.get(pattern)) is not None:
            seen, found = probe.look(values)
            pattern = (*pattern, seen)
            values.found.append(found)
        plan = family.plans.get(pattern)
        if plan is None:
            values.found.clear()
        else:
            self.hits += 1
        return plan

    def _compile(self, key: tuple[Any, ...], values: BindValues, root: "_Root", build: Any = None) -> Plan:
        self.misses += 1
        statement, finish = (build or root.build)()
        compiled = statement.compile(dialect=root.on.dialect.core)
        order = compiled.positiontup or []
        # Core adds binds of its own (SQLite's `OFFSET 0`, say): they are constants of the plan.
        binds = tuple(root.on.binds.get(name) or Bind(lambda _values, value=compiled.params[name]: value) for name in order)  # type: ignore[misc]
        checks = tuple(bind for name, bind in root.on.binds.items() if name not in order)
        plan = Plan(str(compiled), binds, finish, root.postgres, checks)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = _Family(written=len(key[0]))
            self._written += family.written
        self._families.move_to_end(key)
        pattern = tuple(root.on.pattern)
        for place, probe in enumerate(root.on.probes):
            family.probes[pattern[:place]] = probe
        if pattern not in family.plans:
            self._count += 1
            family.written += plan.written
            self._written += plan.written
        family.plans[pattern] = plan
        self._forget(family)
        return plan

    def _forget(self, newest: _Family) -> None:
        """Keep to the bound: the families that nobody asked for the longest go, and one that outgrows it alone begins anew."""
        while self._count > self.size or self._written > self.characters:
            key, oldest = next(iter(self._families.items()))
            if oldest is newest:
                kept = next(reversed(newest.plans))
                newest.plans = {kept: newest.plans[kept]}
                newest.probes = {seen: probe for seen, probe in newest.probes.items() if seen == kept[: len(seen)]}
                self._count, self._written = 1, len(key[0]) + newest.plans[kept].written
                newest.written = self._written
                return
            self._count -= len(oldest.plans)
            self._written -= oldest.written
            self._families.popitem(last=False)

    def __len__(self) -> int:
        """How many plans are kept."""
        return self._count


#: The name under which the ids of a reply's objects stand among the variables; no document can have it.
_IDS = "ids of the reply"


class _Root:
    """Builds the statement of a root field."""

    def __init__(
        self, plans: Plans, document: Document, details: Details, path: str, caller: Caller, postgres: bool, values: BindValues
    ) -> None:
        self.plans, self.document, self.details, self.path, self.caller = plans, document, details, path, caller
        self.postgres = postgres
        self.on = Compiler(document, plans.bindings, POSTGRES if postgres else SQLITE, values, caller.role is Role.ADMIN)

    def build(self) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Give the statement, and what makes the answer of its rows."""
        query = self.document.schema.query_type
        if query is None:
            raise TypeError("a schema without queries")
        name = self.details[0].node.name.value
        spec = self.plans.bindings.types[query.name][name].spec
        args = self.on.arguments(query, self.details, self.path)
        type_ = get_named_type(query.fields[name].type)
        if not isinstance(type_, GraphQLObjectType):
            return self._nodes(args, many=isinstance(spec, b.AnyNode) and spec.many)
        if isinstance(spec, b.Many):
            self.caller.require(spec.needs)
        if type(spec) in LISTS:
            list_field = ListField(spec, type_, self.details, args, None)
            if self.postgres and isinstance(spec, b.Many):
                return Connection(self.on, list_field).columns()
            return self._single(LISTS[type(spec)](self.on, list_field))
        row, inside = self.on.scope.table(spec.model if isinstance(spec, b.ById | b.Own) else Lead)
        where = [inside]
        if isinstance(spec, b.ById):
            make = partial(_exact, path=f"{self.path}.{spec.argument}")
            where.append(row.c.id == self.on.leaf(args.origins[spec.argument], make, sa.Text))
        elif isinstance(spec, b.ByReference):
            where.append(self._referred(row, args))
        elif not isinstance(spec, b.Own):
            raise TypeError(f"Query.{name} has no SQL")
        return self._row(sa.select().select_from(row).where(*where), row, type_)

    def _referred(self, row: b.Row, args: Arguments) -> Expression:
        """Find the lead that a `LeadRef` names, as the one key that it has says."""
        [(key, _value)] = args.values["by"].items()
        exact = partial(_exact, path=f"{self.path}.by.{key}")
        column = {"id": "id", "crmId": "crm_id", "email": "email_key"}[key]

        def make(text: Any) -> str:
            return fold_email(exact(text).strip()) if key == "email" else exact(text)

        return row.c[column] == self.on.leaf(args.origins["by"].child(key), make, sa.Text)

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
            return Fragment(orjson.dumps(shape(rows[0]), option=orjson.OPT_UTC_Z))

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

    def _nodes(self, args: Arguments, *, many: bool) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Objects by id, whatever their types: which types there are is what the ids' prefixes say."""
        origin = args.origins["ids" if many else "id"]
        by_prefix = {PREFIXES[name]: name for name in self.plans.bindings.models if name in PREFIXES}
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
            ids = self.on.bind(lambda values: values.variables[_IDS], self.on.dialect.list_of(sa.Text()))
        parts = []
        for name in names:
            row, inside = self.on.scope.table(self.plans.bindings.models[name])
            type_ = self.on.named(name)
            fields = self.on.fields(type_, self.details, row, self.path)
            where = [inside, self.on.dialect.among(row.c.id, ids), *self.on.visible(name, row)]
            whole = self.on.dialect.outermost(Leaf(self.on.dialect.inline(fields, row), Kind.TREE))
            parts.append(sa.select(row.c.id, whole.label("object")).select_from(row).where(*where))
        if not parts:
            # Ids of no known type: still the one statement of a root field, and an empty one.
            workspace, inside = self.on.scope.table(self.plans.bindings.models["Workspace"])
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


def details_of(nodes: Sequence[Any]) -> Details:
    """Give the collector's form of a resolver's field nodes."""
    return [FieldDetails(node, None) for node in nodes]


def variables_of(document: Document, details: Details) -> frozenset[str]:
    """Name the variables that the selection of a field depends on, through all its fragments."""
    names: set[str] = set()
    spread: set[str] = set()
    waiting: list[Any] = [each.node for each in details]

    class Look(Visitor):
        def enter_variable(self, node: Any, *_: Any) -> None:
            names.add(node.name.value)

        def enter_fragment_spread(self, node: Any, *_: Any) -> None:
            name = node.name.value
            if name not in spread and name in document.fragments:
                spread.add(name)
                waiting.append(getattr(document.fragments[name], "definition", document.fragments[name]))

    while waiting:
        visit(waiting.pop(), Look())
    return frozenset(names)
