"""The way in: find or compile the plan of a root field, bind, run, shape.

A plan is kept by (document, operation, response key, role, shape of the variables) and by what its probes saw. A repeated
operation compiles nothing: its values are bound, one statement runs, and the answer is JSON.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLSchema, Visitor, visit
from graphql.execution.collect_fields import FieldDetails
from orjson import Fragment

from app.actions.work import Caller, Role
from app.look_ups import LookUp
from app.readers import Reading
from schema.planner import bindings as b
from schema.planner.arrays import Columns
from schema.planner.compiler import Details, Document
from schema.planner.connections import Finish
from schema.planner.origins import Bind, BindValues, Probe, shape_of
from schema.planner.postgres import POSTGRES
from schema.planner.roots import REPLY_IDS, Root
from schema.planner.sqlite import SQLITE

#: What a bind takes in memory: functions, and the place of its value.
_OF_BIND = 1_000
#: Stands in a plan's key where other plans of the document have a type: as no type can be named.
_COLUMNS = "columns of a page"


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement, where its binds come from, and what makes the answer of its rows."""

    sql: str
    binds: tuple[Bind, ...]
    finish: Finish
    postgres: bool
    #: Binds that the statement came to do without: their values are checked all the same.
    checks: tuple[Bind, ...] = ()
    #: Where it does nothing but find one row by its key: what finds it together with others.
    look_up: LookUp | None = None

    @property
    def written(self) -> int:
        """Count the characters of the statement, and as many for each of its binds as these take beside it."""
        many = 0 if self.look_up is None else len(self.look_up.many)
        return len(self.sql) + many + _OF_BIND * (len(self.binds) + len(self.checks))

    async def run(self, reading: Reading, values: BindValues) -> Any:
        """Run it, and give JSON that is ready to be sent (or None)."""
        binds = self.bound(values)
        rows = await (reading.rows(self.sql, binds) if self.look_up is None else reading.row(self.look_up, binds))
        return self.finish(rows, values)

    def bound(self, values: BindValues) -> list[Any]:
        """Make its binds, and check the values that it does without."""
        dialect = POSTGRES if self.postgres else SQLITE
        for check in self.checks:
            check.make(values)
        return [dialect.bound(bind.make(values)) for bind in self.binds]


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
        key = self._key(document, path, caller, reading.postgres, None)
        plan = self._find(key, values)
        if plan is None:
            plan = self._compile(key, values, Root(self.bindings, document, details, path, caller, reading.postgres, values))
        return await plan.run(reading, values)

    def known(self, document: Document, path: str, caller: Caller, *, postgres: bool) -> tuple[Plan, BindValues] | None:
        """Find the plan of a root field, where it was compiled before."""
        values = BindValues(document.variables.coerced, caller.workspace_id, caller, [])
        plan = self._find(self._key(document, path, caller, postgres, None), values)
        return None if plan is None else (plan, values)

    async def objects(
        self, document: Document, details: Details, path: str, ids: Sequence[str], type_name: str, caller: Caller, reading: Reading
    ) -> dict[str, Fragment]:
        """Read objects of one type by id, for the selection of a field of a reply: one statement for all."""
        values = BindValues({**document.variables.coerced, REPLY_IDS: list(ids)}, caller.workspace_id, caller, [])
        # The rows of a batch are no part of it: only what the selection of the reply itself depends on.
        key = self._key(document, path, caller, reading.postgres, type_name, self._used(document, details, path))
        plan = self._find(key, values)
        if plan is None:
            root = Root(self.bindings, document, details, path, caller, reading.postgres, values)
            plan = self._compile(key, values, root, lambda: root.by_ids([type_name], many=None))
        found: dict[str, Fragment] = await plan.run(reading, values)
        return found

    async def columns(self, document: Document, details: Details, path: str, caller: Caller, reading: Reading) -> Columns:
        """Give a page of a root field that is a list, of which `nodes` alone is selected, with `first`, column by column."""
        values = BindValues(document.variables.coerced, caller.workspace_id, caller, [])
        key = self._key(document, path, caller, reading.postgres, _COLUMNS)
        plan = self._find(key, values)
        if plan is None:
            root = Root(self.bindings, document, details, path, caller, reading.postgres, values)
            plan = self._compile(key, values, root, root.columns)
        found: Columns = await plan.run(reading, values)
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
        document: Document, path: str, caller: Caller, postgres: bool, type_name: str | None, used: frozenset[str] | None = None
    ) -> tuple[Any, ...]:
        operation = document.operation
        text = operation.loc.source.body if operation.loc else ""
        name = operation.name.value if operation.name else None
        given = document.variables.coerced.items()
        shape = tuple((variable, shape_of(value)) for variable, value in given if used is None or variable in used)
        return text, name, path, type_name, caller.role is Role.ADMIN, postgres, shape

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

    def _compile(self, key: tuple[Any, ...], values: BindValues, root: Root, build: Any = None) -> Plan:
        self.misses += 1
        statement, finish = (build or root.build)()
        compiled = statement.compile(dialect=root.on.dialect.core)
        order = compiled.positiontup or []
        # Core adds binds of its own (SQLite's `OFFSET 0`, say): they are constants of the plan.
        binds = tuple(root.on.binds.get(name) or Bind(lambda _values, value=compiled.params[name]: value) for name in order)  # type: ignore[misc]
        checks = tuple(bind for name, bind in root.on.binds.items() if name not in order)
        plan = Plan(str(compiled), binds, finish, root.postgres, checks, root.look_up(str(compiled), order))
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
