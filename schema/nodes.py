"""What all objects and lists have in common: ids, edges, pages."""

from typing import Generic, TypeVar

import strawberry

T = TypeVar("T")


@strawberry.interface
class Node:
    """Something with an id of its own."""

    id: strawberry.ID = strawberry.field(description="Opaque, sortable by creation, prefixed with its type: `lead_…`, `cmp_…`.")


@strawberry.type
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    """A row of a page, and the place to go on from."""

    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    """One page of a list."""

    edges: list[Edge[T]]
    nodes: list[T]
    page_info: PageInfo
    total_count: int = strawberry.field(description="Counted only when asked for.")
