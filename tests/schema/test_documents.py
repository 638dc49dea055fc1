"""Documents are kept within a bound, and go at once when they are dropped."""

import gc

import pytest
from graphql import Node, Token

from schema.documents import Document
from schema.graph import graph


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("{ viewer { role } }", True),
        ("{ viewer { role } } # more", True),
        ("{ viewer { nope } }", False),
        ("{ viewer { ", False),
        ("", False),
    ],
)
def test_a_document_that_nobody_holds_is_gone_without_the_collector_of_rings(text, good):
    gc.collect()
    gc.freeze()  # what is there already is not looked through
    document = Document(graph.core, text, 2_000)
    assert bool(document.errors) is not good
    gc.collect()  # what parsing and validating it left behind is young, and goes soon
    gc.disable()
    try:
        assert held() > 0
        del document
        assert held() == 0
    finally:
        gc.enable()
        gc.unfreeze()


def held():
    """Count the documents and the parts of documents that have come into memory."""
    return sum(issubclass(type(each), Document | Node | Token) for each in gc.get_objects())
