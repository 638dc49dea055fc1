"""The leads that a `where` finds, for verbs that write them."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from graphql import GraphQLInputObjectType, GraphQLSchema
from graphql.pyutils import Undefined
from graphql.utilities import coerce_input_value

from app.actions.lead_batches import Chosen
from app.errors import BadUserInput
from app.tables import Lead
from schema.planner.bindings import Scope
from schema.planner.dialects import Dialect, Expression
from schema.planner.filters import conditions
from schema.planner.origins import BindValues, Constant, Origin
from schema.planner.postgres import POSTGRES
from schema.planner.sqlite import SQLITE


class _Now:
    """Binds the values at once: a filter that is written by is asked once."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.binds: dict[str, Any] = {}
        self.scope = Scope(dialect, sa.bindparam("workspace", type_=sa.Text), self._bind, admin=True)

    def _bind(self, make: Callable[[Any], Any], type_: Any) -> Expression:
        return self._of(make(_NOTHING), type_)

    def _of(self, value: Any, type_: Any) -> Expression:
        name = f"p{len(self.binds)}"
        self.binds[name] = self.dialect.bound(value) if isinstance(value, list) else value
        return sa.bindparam(name, type_=type_)

    def leaf(self, origin: Origin, make: Callable[[Any], Any], type_: Any = None) -> Expression:
        """Bind what `make` gives for the value of an origin."""
        return self._of(make(origin.get({})), type_)

    def probe(self, look: Callable[[BindValues], tuple[Any, tuple[Any, ...]]]) -> tuple[Any, int]:
        """Look into a value whose content chooses SQL."""
        return look(_NOTHING)[0], 0


_NOTHING = BindValues({}, "", None, [])


def chosen(where: Mapping[str, Any], *, postgres: bool) -> Chosen:
    """Give the leads that a coerced `LeadWhere` finds."""
    now = _Now(POSTGRES if postgres else SQLITE)
    lead, inside = now.scope.table(Lead)
    found = [inside, *conditions(now, lead, "lead", where, Constant(where), "where")]
    return Chosen(lead, found, now.binds, where)


def chosen_again(schema: GraphQLSchema, where: Mapping[str, Any], *, postgres: bool) -> Chosen:
    """Give the leads that a `LeadWhere` finds which a job has kept as JSON. Raises BadUserInput where this version knows it no more."""
    type_ = schema.type_map["LeadWhere"]
    if not isinstance(type_, GraphQLInputObjectType):
        raise TypeError("LeadWhere is no input")
    coerced = coerce_input_value(where, type_)
    if coerced is Undefined:
        raise BadUserInput("where: is none that this version of the service knows", argument="where")
    return chosen(coerced, postgres=postgres)
