"""A graph small enough to see through, behind the endpoint under test: fields that answer, fail, wait, and write one name."""

import asyncio
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any, NewType

import sqlalchemy as sa
import strawberry
from graphql import DocumentNode, GraphQLError, GraphQLSchema, GraphQLSyntaxError, OperationDefinitionNode, parse, specified_rules, validate
from orjson import Fragment
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app import logs
from app.actions.work import Caller
from app.actions.workspaces import WORKSPACE
from app.asgi import Wall
from app.errors import BadUserInput, Conflict, Unauthenticated, Unavailable, shown
from app.http.endpoint import GraphQLEndpoint
from app.http.health import health_routes

Moment = NewType("Moment", str)
SECRET = "hunter2-and-ada@example.com"
#: The attempts that the resolvers below saw, by request id.
ATTEMPTS: dict[str, int] = {}


class Driver(Exception):
    """What a driver raises, with the state that a server gave."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("from the server")
        self.sqlstate = sqlstate


FAILURES = {
    "ours": Conflict("It is at version 3.", currentVersion=3),
    "bug": RuntimeError(f"cannot log in with {SECRET} at /srv/app.py: SELECT 1"),
    "away": DBAPIError("SELECT 1", {}, Driver("57P01")),
    "full": DBAPIError("INSERT", {}, Exception("database or disk is full")),
    "reset": ConnectionResetError("by peer"),
    "driver": Driver("08006"),
    "unavailable": Unavailable(),
    "late": TimeoutError(),
    "deadlock": DBAPIError("UPDATE", {"email": SECRET}, Driver("40P01")),
    "statement": DBAPIError("UPDATE lead SET email = ?", {"email": SECRET}, Driver("42601")),
}


def moment(text: str) -> str:
    if "T" not in text:
        raise BadUserInput(f"{shown(text)} is no moment")
    return text


def _count(info: Any) -> int:
    request = info.context.request_id
    ATTEMPTS[request] = ATTEMPTS.get(request, 0) + 1
    return ATTEMPTS[request]


@strawberry.input
class Where:
    name: str | None = None
    any: list["Where"] | None = None
    at: Moment | None = None


@strawberry.type
class Tree:
    id: str = "t"

    @strawberry.field
    def child(self) -> "Tree":
        return Tree()


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "Bonjour"

    @strawberry.field
    def tree(self) -> Tree:
        return Tree()

    @strawberry.field
    def things(self, where: Where | None = None, count: int = 0) -> list[str]:
        return ["x"] * count

    @strawberry.field
    def at(self, moment: Moment) -> str:
        return moment

    @strawberry.field
    def finished(self) -> list[Tree]:
        return Fragment(b'[{"id":"from the database"}]')  # type: ignore[return-value]

    @strawberry.field
    def required(self, text: str = "told") -> str:
        return text

    @strawberry.field
    def fail(self, kind: str) -> str | None:
        raise FAILURES[kind]

    @strawberry.field
    def nothing(self) -> str:
        return None  # type: ignore[return-value]

    @strawberry.field
    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"

    @strawberry.field
    async def snapshot(self, info: strawberry.Info) -> bool:
        reading = info.context.reading
        if reading.postgres:
            [row] = await reading.rows("SELECT current_setting('transaction_isolation') = 'repeatable read'", [])
            return bool(row[0])
        return bool(getattr(reading, "connection", None) and reading.connection.in_transaction)


async def _rename(info: Any, name: str) -> None:
    work = info.context.work
    await work.run(sa.update(WORKSPACE).values(name=sa.bindparam("new")).where(WORKSPACE.c.id == sa.bindparam("workspace")), {"new": name})


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def rename(self, info: strawberry.Info, name: str) -> str:
        await _rename(info, name)
        return name

    @strawberry.mutation
    async def fail(self, kind: str) -> str | None:
        raise FAILURES[kind]

    @strawberry.mutation
    async def rename_at_attempt(self, info: strawberry.Info, attempt: int, name: str) -> int:
        if (now := _count(info)) < attempt:
            raise FAILURES["deadlock"]
        await _rename(info, name)
        return now

    @strawberry.mutation
    async def rename_slowly(self, info: strawberry.Info, name: str, seconds: float) -> str:
        await _rename(info, name)
        await asyncio.sleep(seconds)
        return name

    @strawberry.mutation
    async def run_away(self, info: strawberry.Info) -> str:
        work = info.context.work
        await _rename(info, "run away")
        forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000000) SELECT max(i) FROM n"
        await work.connection.exec_driver_sql("SELECT pg_sleep(30)" if work.postgres else forever)
        return "done"

    @strawberry.mutation
    def user_forget(self) -> str:
        return "done"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int, None]:
        yield 1


class Execution(StrawberryGraphQLCoreExecutionContext):
    def complete_value(self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any) -> Any:
        if type(result) is Fragment:
            return result
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


class LongWay:
    """Nothing here is planned."""

    async def answer(self, *_: Any) -> None:
        return None


class Graph(strawberry.Schema):
    short_way = LongWay()

    @property
    def core(self) -> GraphQLSchema:
        return self._schema

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """The endpoint logs."""


GRAPH = Graph(
    Query,
    Mutation,
    Subscription,
    execution_context_class=Execution,
    config=StrawberryConfig(scalar_map={Moment: strawberry.scalar(name="Moment", serialize=str, parse_value=moment)}),
)


class Document:
    """Validated when its errors are asked for, which is after it was measured."""

    def __init__(self, text: str, max_tokens: int) -> None:
        self.ast: DocumentNode | None = None
        self._wrong: tuple[GraphQLError, ...] | None = None
        try:
            self.ast = parse(text, max_tokens=max_tokens)
        except GraphQLSyntaxError as error:
            self._wrong = (error,)

    @property
    def errors(self) -> tuple[GraphQLError, ...]:
        if self._wrong is None:
            assert self.ast is not None
            self._wrong = tuple(validate(GRAPH._schema, self.ast, specified_rules))
        return self._wrong

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        assert self.ast is not None
        found = [node for node in self.ast.definitions if isinstance(node, OperationDefinitionNode)]
        found = [node for node in found if name is None or (node.name and node.name.value == name)]
        return found[0] if len(found) == 1 else None


@lru_cache(maxsize=100)
def read(text: str, *, max_tokens: int) -> Document:
    return Document(text, max_tokens)


class OneCaller:
    """Knows one caller, by the key `key`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.asked = self.forgotten = 0
        self.failure: Exception | None = None

    async def identify(self, headers: Any) -> Caller:
        self.asked += 1
        if self.failure:
            raise self.failure
        if headers.get("authorization") != "Bearer key":
            raise Unauthenticated
        return self.caller

    def forget(self, api_key_id: str | None = None) -> None:
        self.forgotten += 1


def small_app(database: Any, caller: Caller, **settings: Any) -> Starlette:
    """Serve the small graph to one caller."""
    logs.configure("WARNING")
    callers = OneCaller(caller)
    endpoint = GraphQLEndpoint(GRAPH, read, database, callers, database.settings.model_copy(update=settings))
    app = Starlette(routes=[Route("/graphql", endpoint), *health_routes(database)], middleware=[Middleware(Wall)])
    app.state.callers, app.state.endpoint = callers, endpoint
    return app
