"""What a request brings to its resolvers."""

from dataclasses import dataclass, field
from typing import Any

from app.actions.work import Caller, Work
from app.errors import Internal
from app.readers import Reading, WritingReading
from app.rules.webhook_urls import NOTHING, Allowed


@dataclass
class Context:
    """One request: who asks, and what to read or write through."""

    caller: Caller
    request_id: str
    #: What a query reads through; in a mutation it is the transaction's own connection.
    reading: Reading | None = None
    #: The transaction of a mutation.
    work: Work | None = None
    #: Whether users can log in with tokens here: an ADMIN who can't does not count as one.
    users_log_in: bool = True
    #: The private hosts that webhooks may be sent to all the same.
    webhooks_may_reach: Allowed = NOTHING
    #: graphql-core's executor of this request; it knows the coerced variables and the fragments.
    executor: Any = None
    #: What the short way came to, by response key, errors included: the long way goes on from there.
    answered: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.work is not None:
            self.reading = WritingReading(self.work.connection)

    @property
    def writing(self) -> Work:
        """The transaction, where there must be one."""
        if self.work is None:
            raise Internal
        return self.work
