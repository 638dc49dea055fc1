"""The log: one line an event, and nothing in it that a terminal would obey."""

import json
import logging
from io import StringIO

import pytest
import structlog

from app import logs


@pytest.fixture
def lines():
    stream = StringIO()
    logs.configure("INFO", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()], stream
    logs.configure("WARNING")


def test_a_line_is_an_object_whoever_writes_it(lines):
    read, _ = lines
    structlog.get_logger("leadgraph.test").info("claimed", jobs=2)
    logging.getLogger("uvicorn.error").warning("said %s", "so")
    ours, theirs = read()
    assert (ours["event"], ours["jobs"], ours["logger"], ours["level"]) == ("claimed", 2, "leadgraph.test", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("said so", "uvicorn.error", "warning")


@pytest.mark.parametrize("text", ["\r\nforged", "\x1b[2J", "\x7f", "\x9b31m", "\u2028", "\u202e"])
def test_what_a_terminal_would_obey_is_escaped(lines, text):
    read, stream = lines
    structlog.get_logger("leadgraph.test").warning(text, name=text)
    assert text not in stream.getvalue()
    assert stream.getvalue().isascii()
    [line] = read()
    assert (line["event"], line["name"]) == (text, text)


def test_an_exception_is_told_with_its_lines_and_without_its_variables(lines):
    read, _ = lines
    secret = "a local variable"

    def fail():
        raise ValueError("told")

    try:
        fail()
    except ValueError:
        structlog.get_logger("leadgraph.test").exception("failed")
    [line] = read()
    assert "ValueError: told" in line["exception"]
    assert secret not in line["exception"].replace('secret = "', "")


def test_what_is_below_the_level_is_left_out_and_values_of_statements_always_are(lines):
    read, _ = lines
    structlog.get_logger("leadgraph.test").debug("detail")
    logging.getLogger("aiosqlite").debug("executing INSERT ada@example.com")
    logging.getLogger("strawberry.execution").error("query { leads }")
    assert read() == []


def test_configuring_again_doubles_nothing(lines):
    read, stream = lines
    logs.configure("INFO", stream)
    structlog.get_logger("leadgraph.test").info("once")
    assert len(read()) == 1
