"""Laws 2 and 3, for every mutation that the schema has: one transaction with its reply inside, its entry in the log, or nothing at all."""

import pytest
import walks
from statements import overheard
from tenants import arguments_for, asker
from walks import ROOTS

from app.actions.work import Role

MUTATIONS = sorted(ROOTS["Mutation"].fields)
#: What each mutation tells the log when it does its work; a new one is put here, with what it tells.
TOLD = {
    "leadCreate": {"LEAD_CREATED"},
    "leadUpdate": {"LEAD_UPDATED"},
    "leadDelete": {"LEAD_DELETED"},
    "leadAssign": {"ASSIGNED"},
    "leadScore": set(),  # by the same rules, to the same points
    "leadUpsertMany": {"LEAD_CREATED"},
    "leadUpdateMany": {"LEAD_UPDATED", "SCORED"},
    "leadDeleteMany": {"LEAD_DELETED"},
    "batchUndo": {"LEAD_DELETED"},
    "leadEventTrack": {"EVENT"},
    "leadEventTrackMany": {"EVENT"},
    "campaignCreate": {"CAMPAIGN_CREATED"},
    "campaignUpdate": {"CAMPAIGN_UPDATED"},
    "campaignDelete": {"CAMPAIGN_DELETED", "EMAIL_CANCELLED"},
    "campaignAddLeads": set(),
    "campaignRemoveLeads": {"CAMPAIGN_LEFT", "EMAIL_CANCELLED", "SCORED"},
    "emailSchedule": {"EMAIL_SCHEDULED"},
    "emailCancel": {"EMAIL_CANCELLED"},
    "emailReport": {"EMAIL_FAILED"},
    "automationCreate": {"ADMINISTERED"},
    "automationUpdate": {"ADMINISTERED"},
    "automationDelete": {"ADMINISTERED"},
    "webhookCreate": {"ADMINISTERED"},
    "webhookUpdate": {"ADMINISTERED"},
    "webhookDelete": {"ADMINISTERED"},
    "scoringRulesUpdate": {"ADMINISTERED"},
    "userCreate": {"ADMINISTERED"},
    "userUpdate": {"ADMINISTERED"},
    "userDelete": {"ADMINISTERED", "ASSIGNED"},
    "apiKeyCreate": {"ADMINISTERED"},
    "apiKeyRevoke": {"ADMINISTERED"},
}
#: Those that write and tell the log nothing, and why.
UNTOLD = {
    "leadImport": "its job tells of each lead",
    "leadImportPreview": "it keeps nothing",
    "importJobCancel": "a job's progress is read from its row",
    "emailClaim": "a lease for a while, nothing that happened to a lead",
    "webhookRedeliver": "what it delivers again was told when it happened",
}
#: With these arguments they find all done already.
UNCHANGED = {"leadImportPreview", "campaignAddLeads"}
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "LISTEN", "NOTIFY", "UNLISTEN", "--", "SELECT 1", ";")


def test_every_mutation_says_what_it_tells_the_log():
    assert sorted({*TOLD, *UNTOLD}) == MUTATIONS


@pytest.fixture
def made(database, furnish, wire):
    """Makes a furnished workspace with a second key, so that the first can be revoked."""

    async def make():
        tenant = await furnish()
        return tenant, await asker(database, wire, tenant.workspace, Role.ADMIN)

    return make


@pytest.fixture
def spoken():
    """Gives what was said between the writer's BEGIN and its end, and all that was said beside it, without what only minds keys."""

    def read(talk):
        transactions, beside, opened = [], [], {}
        for connection, sql in talk:
            text = sql.strip().upper()
            if text.startswith("BEGIN"):
                opened[connection] = []
            elif text.startswith(("COMMIT", "ROLLBACK")) and not text.startswith("ROLLBACK TO") and connection in opened:
                said = opened.pop(connection)
                # A pool that looks whether a connection is alive begins a transaction too, and says nothing in it.
                if not said or not all("api_key SET last_used_at" in each or each.strip() == ";" for each in said):
                    transactions.append((text.partition(" ")[0].rstrip(";"), said))
            elif connection in opened:
                opened[connection].append(sql)
            elif not text.startswith(CONTROL) and "api_key.hash" not in sql:
                beside.append(sql)
        assert opened == {}
        return transactions, beside

    return read


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_mutation_is_one_transaction_that_holds_its_reply_and_tells_the_log(made, rows_of, spoken, name):
    tenant, other = await made()
    arguments = arguments_for(name, tenant)
    before = await rows_of(tenant)
    with overheard() as talk:
        answer = (await tenant.admin.post(walks.document("Mutation", name, arguments), arguments)).json()
    assert "errors" not in answer
    transactions, beside = spoken(talk)
    assert ([end for end, _ in transactions], beside) == (["COMMIT"], [])
    after = await rows_of(tenant)
    assert (before == after) == (name in UNCHANGED)
    kinds = (await other.data("{ activities(order: ASC, first: 200) { nodes { kind } } }"))["activities"]["nodes"]
    new = len(after["activity"]) - len(before["activity"])
    assert {each["kind"] for each in kinds[len(kinds) - new :]} == TOLD.get(name, set())
    [(_, said)] = transactions
    assert sum(sql.lstrip().upper().startswith("INSERT INTO ACTIVITY") for sql in said) == bool(new)


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_mutation_beside_one_that_fails_leaves_nothing_at_all(made, rows_of, spoken, name):
    tenant, _ = await made()
    arguments = arguments_for(name, tenant)
    before = await rows_of(tenant)
    operation, line, fragments = walks.document("Mutation", name, arguments, depth=0).partition("\n")
    both = f'{operation.removesuffix("}")} bad: leadDelete(lead: {{id: "lead_none"}}) {{ deletedId }} }}{line}{fragments}'
    with overheard() as talk:
        answer = (await tenant.admin.post(both, arguments)).json()
    assert (answer["data"], [error["path"] for error in answer["errors"]]) == (None, [["bad"]])
    transactions, beside = spoken(talk)
    assert ([end for end, _ in transactions], beside) == (["ROLLBACK"], [])
    assert await rows_of(tenant) == before
