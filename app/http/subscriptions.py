"""Subscriptions: from a request that was checked to its results, with what is wrong told as a query's errors are."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
from graphql import DocumentNode, GraphQLError, OperationDefinitionNode

from app.database import Database
from app.http import answers
from app.http.answers import Answer
from app.http.live import Live
from app.http.requests import Request
from app.http.streams import Events
from app.settings import Settings
from schema.live import Asked, LiveImport, LiveLog, WrongVariables, live, located


class Subscriptions:
    """Begins subscriptions; `live` has all that are open in this process."""

    def __init__(self, graph: Any, database: Database, settings: Settings) -> None:
        self.live = Live(database)
        self._graph, self._settings = graph, settings

    async def begin(self, request: Request, document: DocumentNode, node: OperationDefinitionNode, cost: int) -> Answer | Events:
        """Begin a subscription, or answer with what is wrong with it; `cost` is that of one of its results."""
        asked: LiveLog | LiveImport | None = None
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                asked = live(self._graph.plans, document, node, request.variables, request.caller)
                if isinstance(asked, LiveLog):
                    # A read of many activities asks for no more objects than one request may.
                    found = await self.live.follow(asked, max(1, self._settings.max_cost // max(1, cost)))
                else:
                    found = await self.live.watch(asked)
        except WrongVariables as wrong:
            return answers.result(None, answers.result_errors(wrong.errors, request.id), request.media_type, executed=False)
        except Exception as error:  # noqa: BLE001  (told as a query's would be: what was not expected is logged, and masked)
            return answers.result(None, [_at(asked, error, request)], request.media_type, executed=True)
        return _to_the_end(found, asked, request)


def _at(asked: Asked | None, error: Exception, request: Request) -> dict[str, Any]:
    """Tell what went wrong with a subscription's field, and where."""
    if isinstance(error, GraphQLError):
        return answers.result_errors([error], request.id)[0]
    if asked is None:
        return answers.failure(error, request.id)
    return answers.result_errors([located(asked, error)], request.id)[0]


async def _to_the_end(found: Events, asked: Asked, request: Request) -> Events:
    """Give the results; what ends them before their time is the last."""
    try:
        async with aclosing(found) as results:
            async for some in results:
                yield some
    except Exception as error:  # noqa: BLE001  (as above)
        yield (orjson.dumps({"errors": [_at(asked, error, request)], "data": None}),)
