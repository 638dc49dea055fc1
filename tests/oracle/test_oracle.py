"""The planner, both ways in, against plain Python: random rows, random questions, the same answers; and pages that never slip."""

import secrets
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import Document, Field, Name, Questions
from reference import CURSOR, Reference, World
from worlds import leads_written, worlds, written

from app.actions import workspaces
from app.actions.lead_rows import LEAD
from app.actions.lead_search import forget
from app.actions.work import Caller, Role, Work
from app.database import Database
from schema.context import Context
from schema.graph import graph

#: Questions that each world is asked; the data costs more than the asking.
QUESTIONS = 5
#: `--hypothesis-profile=large` tries more.
TRIED = settings(settings.get_profile("large" if settings.get_current_profile_name() == "large" else "small"))


async def stranger_to_all(database: Database) -> Caller:
    """Make a workspace for one trial."""
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug=f"oracle-{secrets.token_hex(8)}", name="Oracle")
    return Caller(workspace_id=workspace["id"], role=Role.ADMIN, workspace_ids=(workspace["id"],))


async def asked(database: Database, caller: Caller, document: Document) -> Any:
    """Ask both ways in, which must give the same bytes."""
    read = graph.documents.read(document.text)
    assert not read.errors, (read.errors, document.text)
    async with database.readers.reading(snapshot=True) as reading:
        short = await graph.short_way.answer(read, None, document.variables, Context(caller, "short", reading=reading))
        long = await graph.execute(
            document.text, variable_values=document.variables, context_value=Context(caller, "long", reading=reading)
        )
    assert not long.errors, (long.errors, document.text, document.variables)
    assert short is not None, (document.text, document.variables)
    answers = [orjson.dumps(short), orjson.dumps(long.data)]
    assert answers[0] == answers[1], document.text
    answer = orjson.loads(answers[0])
    del answer["viewer"]
    return answer


def without_cursors(value: Any) -> Any:
    """Put the same word for every cursor."""
    if isinstance(value, dict):
        return {
            key: CURSOR if key in ("cursor", "startCursor", "endCursor") and each is not None else without_cursors(each)
            for key, each in value.items()
        }
    return [without_cursors(each) for each in value] if isinstance(value, list) else value


def told_apart(here: Any, there: Any, path: str = "") -> str | None:
    """Say where two answers differ first, in their values, kinds or order."""
    if isinstance(here, dict) and isinstance(there, dict) and list(here) == list(there):
        return next((found for key in here if (found := told_apart(here[key], there[key], f"{path}.{key}"))), None)
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = enumerate(zip(here, there, strict=True))
        return next((found for place, pair in pairs if (found := told_apart(*pair, f"{path}[{place}]"))), None)
    return None if orjson.dumps(here) == orjson.dumps(there) else f"{path}: {here!r}, expected {there!r}"


class Trial(tuple):
    """What was drawn; told briefly, the failing assertion says what matters."""

    __slots__ = ()

    def _repr_pretty_(self, printer, _cycle):
        printer.text("a trial")


def ids_of(world: World) -> dict[str, list[str]]:
    return {of: [row["id"] for row in getattr(world, of)] for of in ("lead", "campaign", "user")}


@st.composite
def trials(draw):
    """A world, and what it is asked: by whom, and with what."""
    world = draw(worlds())
    questions = Questions(ids_of(world))
    return Trial((world, [(draw(st.sampled_from([Role.ADMIN, Role.VIEWER])), questions.document(draw)) for _ in range(QUESTIONS)]))


@TRIED
@given(trial=trials())
async def test_any_question_is_answered_as_plain_python_answers_it(database, trial):
    world, documents = trial
    caller = await stranger_to_all(database)
    await written(database, world, caller)
    for role, fields in documents:
        document = Document(fields)
        expected = Reference(world, admin=role is Role.ADMIN).root(fields)
        answer = without_cursors(await asked(database, replace(caller, role=role), document))
        assert told_apart(answer, expected) is None, f"{told_apart(answer, expected)}\n{document.text}\n{document.variables}"


@st.composite
def walks(draw):
    """A world, a list in it, how it is narrowed and sorted, the size of a page, and what is done between pages."""
    world = draw(worlds(most=12))
    questions = Questions(ids_of(world))
    paths = [("leads", None), ("leads", None), ("campaigns", None), ("activities", None), ("emails", None), ("users", None)]
    paths += [("leads", ("campaign", each["id"])) for each in world.campaign]
    paths += [(name, ("lead", each["id"])) for each in world.lead[:2] for name in ("activities", "emails", "campaigns")]
    name, parent = draw(st.sampled_from(paths))
    args = questions.narrowing(draw, name, root=parent is None)
    return Trial((world, name, parent, args, draw(st.integers(1, 4)), draw(st.booleans())))


def walk_field(name, parent, args):
    infos = [Field(each, each) for each in ("hasNextPage", "hasPreviousPage", "startCursor", "endCursor")]
    edges = Field("edges", "edges", fields=[Field("cursor", "cursor"), Field("node", "node", fields=[Field("id", "id")])])
    found = Field(
        name, name, args, [edges, Field("pageInfo", "pageInfo", fields=infos), Field("totalCount", "totalCount")], as_variables=True
    )
    if parent is None:
        return found
    kind, id_ = parent
    return Field(kind, kind, {"by": {"id": id_}} if kind == "lead" else {"id": id_}, [found])


class Walk:
    """Asks for pages of a list by cursor."""

    def __init__(self, database, caller, name, parent, args):
        self.database, self.caller, self.name, self.parent, self.args = database, caller, name, parent, args

    async def page(self, **more):
        document = Document(
            [walk_field(self.name, self.parent, {**self.args, **{name: value for name, value in more.items() if value is not None}})]
        )
        answer = await asked(self.database, self.caller, document)
        return answer[self.name] if self.parent is None else answer[self.parent[0]][self.name]

    def expected(self, world):
        whole = Reference(world, admin=True).root([walk_field(self.name, self.parent, {**self.args, "first": 200})])
        page = whole[self.name] if self.parent is None else whole[self.parent[0]][self.name]
        return [edge["node"]["id"] for edge in page["edges"]]


@TRIED
@given(trial=walks())
async def test_a_walk_by_cursor_is_the_list_in_pieces_from_any_row_either_way(database, trial):
    world, name, parent, args, size, _ = trial
    caller = await stranger_to_all(database)
    await written(database, world, caller)
    walk = Walk(database, caller, name, parent, args)
    expected = walk.expected(world)
    page = await walk.page(first=200)
    assert [edge["node"]["id"] for edge in page["edges"]] == expected
    for place, edge in enumerate(page["edges"]):
        after = await walk.page(first=size, after=edge["cursor"])
        before = await walk.page(last=size, before=edge["cursor"])
        ahead, behind = expected[place + 1 : place + 1 + size], expected[max(0, place - size) : place]
        assert [each["node"]["id"] for each in after["edges"]] == ahead
        assert [each["node"]["id"] for each in before["edges"]] == behind
        assert (after["pageInfo"]["hasPreviousPage"], after["pageInfo"]["hasNextPage"]) == (True, place + 1 + size < len(expected))
        assert (before["pageInfo"]["hasPreviousPage"], before["pageInfo"]["hasNextPage"]) == (place > size, True)
        assert after["pageInfo"]["endCursor"] == (after["edges"][-1]["cursor"] if ahead else edge["cursor"])
        assert after["totalCount"] == before["totalCount"] == len(expected)


@TRIED
@given(trial=walks(), news=worlds(most=6).map(lambda world: Trial((world,))), data=st.data())
async def test_leads_that_stay_are_met_once_while_others_come_and_go(database, trial, news, data):
    world, _, _, args, size, backward = trial
    args = {"orderBy": args.get("orderBy", [])}
    if any(key["field"] == "NAME" for key in args["orderBy"]):
        args = {"orderBy": [{"field": Name("COMPANY"), "direction": Name("DESC")}]}
    caller = await stranger_to_all(database)
    await written(database, world, caller)
    walk = Walk(database, caller, "leads", None, args)
    coming = [{**lead, "email": None, "crm_id": f"new {place}", "assignee_id": None} for place, lead in enumerate(news[0].lead)]
    stay = {lead["id"] for lead in world.lead}
    found: list[str] = []
    given_, more = None, True
    while more:
        page = await walk.page(**({"last": size, "before": given_} if backward else {"first": size, "after": given_}))
        found += [edge["node"]["id"] for edge in page["edges"]]
        given_, more = (
            page["pageInfo"][name] for name in (("startCursor", "hasPreviousPage") if backward else ("endCursor", "hasNextPage"))
        )
        gone = data.draw(st.sampled_from([None, *sorted(stay)])) if stay else None
        async with database.writing() as connection:
            work = Work(connection=connection, caller=caller)
            if coming:
                await leads_written(work, [coming.pop()])
            if gone is not None:
                stay.discard(gone)
                await forget(work, [gone])
                mine = LEAD.c.workspace_id == sa.bindparam("workspace", caller.workspace_id)
                await connection.execute(sa.delete(LEAD).where(mine, LEAD.c.id == gone))
    assert len(found) == len(set(found))
    assert stay <= set(found)
