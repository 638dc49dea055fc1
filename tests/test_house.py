"""The house rules that a reader cannot check by eye: floors, the size of files, the documents, the printed schema."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from app.settings import QUERIES
from schema.graph import graph

ROOT = Path(__file__).resolve().parent.parent

#: From the bottom up; a module imports only from floors below its own, or from its own.
FLOORS = [
    ("app.errors", "app.settings", "app.logs", "app.deadlines", "app.turns", "app.ui"),
    ("app.rules",),
    (
        "app.column_types",
        "app.search_index",
        "app.tables",
        "app.lane_tables",
        "app.look_ups",
        "app.readers",
        "app.sqlite_readers",
        "app.postgres_readers",
        "app.wakeups",
        "app.database_errors",
        "app.database",
    ),
    ("app.migrations",),
    ("app.actions",),
    ("schema.planner",),
    ("schema",),
    ("app.http",),
    ("app.worker", "app.lane_worker", "app.webhook_sender", "app.asgi", "app.commands", "app.__main__"),
]


def floor_of(module: str) -> int:
    """Find a module's floor: the longest name that covers it decides."""
    found = [(len(name), floor) for floor, names in enumerate(FLOORS) for name in names if module == name or module.startswith(f"{name}.")]
    assert found, f"{module} is on no floor"
    return max(found)[1]


def modules() -> list[tuple[str, Path]]:
    """Give every module of the application but the packages' own roots."""
    files = [path for folder in ("app", "schema") for path in (ROOT / folder).rglob("*.py")]
    named = [(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path) for path in files]
    return [(name, path) for name, path in named if name != "app" and not name.startswith("app.migrations.versions")]


def imported(path: Path) -> list[str]:
    """Give the modules of ours that a file imports, wherever in it, but for those that only the type checker reads."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module in ("app", "app.actions", "app.rules", "app.http", "schema", "schema.planner"):
                found += [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                found.append(node.module)
    return [name for name in found if name.partition(".")[0] in ("app", "schema") and name != "app"]


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_from_its_floor_and_those_below(module, path):
    too_high = [name for name in imported(path) if floor_of(name) > floor_of(module)]
    assert too_high == []


def test_only_the_doors_and_http_import_the_schema():
    readers = {module for module, path in modules() if any(name.partition(".")[0] == "schema" for name in imported(path))}
    assert {
        name for name in readers if not name.startswith(("schema", "app.http", "app.asgi", "app.worker", "app.__main__", "app.commands"))
    } == set()


#: What reaches for a database, the loop, the network, a file, a clock or chance.
IMPURE = {
    *("sqlalchemy", "sqlmodel", "alembic", "sqlite3", "aiosqlite", "asyncpg"),
    *("asyncio", "threading", "concurrent", "subprocess", "socket", "os", "pathlib", "shutil", "tempfile"),
    *("time", "secrets", "uuid", "uuid_utils"),
}
#: The rules that reach for such: names are made of the clock and chance, and no rule decides by either; `inet_aton` reads a text;
#: what reads workbooks may die of one, and does so in a process of its own.
EXCEPTIONS = {
    "app.rules.ids": {"secrets", "uuid_utils"},
    "app.rules.webhook_urls": {"socket"},
    "app.rules.workbooks": {"pathlib", "shutil", "subprocess", "tempfile"},
}


def impurities(text):
    """Name what of a module is no pure function of values."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from {alias.name.partition(".")[0] for alias in node.names} & IMPURE
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & IMPURE
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield type(node).__name__
        elif isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            yield node.attr
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random" and node.attr != "Random":
            yield f"random.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in ("open", "input", "print"):
            yield node.id


@pytest.mark.parametrize(
    "text",
    [
        "import sqlalchemy as sa",
        "import sqlalchemy.orm",
        "from sqlalchemy import select",
        "from sqlalchemy.dialects import sqlite",
        "def rule():\n    from asyncio import sleep",
        "from time import time",
        "async def rule(): ...",
        "async def rule():\n    await other()",
        "datetime.now(UTC)",
        "date.today()",
        "random.random()",
        "open('leads.csv')",
    ],
)
def test_what_is_not_pure_is_seen(text):
    assert list(impurities(text)) != []


def test_rules_are_pure():
    found = {module: set(impurities(path.read_text())) for module, path in modules() if module.startswith("app.rules")}
    assert {module: names for module, names in found.items() if names} == EXCEPTIONS


@pytest.mark.parametrize(
    "root",
    [path for folder in ("app", "schema") for path in (ROOT / folder).rglob("__init__.py") if "versions" not in path.parts],
    ids=lambda path: str(path.parent.relative_to(ROOT)),
)
def test_a_package_is_a_map_of_its_modules(root):
    _, _, below = (ast.get_docstring(ast.parse(root.read_text())) or "").partition("\n\n")
    words = set(re.findall(r"\w+", below))
    files = {path.stem for path in root.parent.glob("*.py")} | {path.parent.name for path in root.parent.glob("*/__init__.py")}
    assert files - {"__init__"} - words == set()


def test_what_is_imported_is_declared():
    """Not left to what happens to bring it: a dependency of ours may drop its own at any time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}
    brought = packages_distributions()
    imports = {
        name.partition(".")[0]
        for folder in ("app", "schema", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if "bench" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    undeclared = {
        name
        for name in imports & brought.keys() - {"app", "schema"}
        if not {each.lower().replace("_", "-") for each in brought[name]} & declared
    }
    assert undeclared == set()


def test_no_file_outgrows_its_name():
    most = {"app": 400, "schema": 400, "tests": 480}  # a test is read one at a time
    long = {
        str(path.relative_to(ROOT)): count
        for folder, lines in most.items()
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > lines
    }
    assert long == {}


DOCUMENTS = sorted(QUERIES.rglob("*.graphql"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(QUERIES)))
def test_a_document_is_valid_and_says_what_it_is_for(path):
    text = path.read_text()
    assert text.startswith("# ")
    assert validate(graph.core, parse(text)) == []


def test_every_root_field_has_a_document():
    selected = {
        selection.name.value
        for path in DOCUMENTS
        for operation in parse(path.read_text()).definitions
        for selection in operation.selection_set.selections
    }
    roots = {name for type_ in (graph.core.query_type, graph.core.mutation_type) for name in type_.fields}
    assert roots - selected == set()


def test_the_printed_schema_is_the_one_that_is_served():
    assert (ROOT / "schema" / "schema.graphql").read_text() == graph.as_str().rstrip("\n") + "\n", "run `leadgraph schema`"


def test_types_with_fields_are_described():
    for name, type_ in graph.core.type_map.items():
        if not name.startswith("__") and hasattr(type_, "fields") and name not in ("Query", "Mutation"):
            assert type_.description, name


def described(schema):
    """Name what a schema describes: types, fields, arguments and values of enums, by their paths."""
    for name, type_ in schema.type_map.items():
        if not name.startswith("__"):
            yield name, type_.description
            for field_name, field in getattr(type_, "fields", {}).items():
                yield f"{name}.{field_name}", field.description
                for argument_name, argument in getattr(field, "args", {}).items():
                    yield f"{name}.{field_name}({argument_name}:)", argument.description
            for value_name, value in getattr(type_, "values", {}).items():
                yield f"{name}.{value_name}", value.description


def test_what_the_contract_describes_is_described_to_clients():
    contract = build_schema((ROOT / "tests" / "contract" / "contract.graphql").read_text())
    served = dict(described(build_schema(graph.as_str())))
    told = [path for path, words in described(contract) if words and path in served]
    assert len(told) > 70  # of which none may be missing
    assert [path for path in told if not served[path]] == []


LOCKS = [
    ROOT / "requirements.lock",
    *(path for folder in ("app", "tests") for path in (ROOT / folder).rglob("package-lock.json") if "node_modules" not in path.parts),
]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_lock_file_names_no_host(path):
    assert "://" not in path.read_text()  # npm also writes sponsors' addresses, as `funding`: take them out
