"""Workspaces with one of everything, and the arguments with which each root field does its work on them."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import sqlalchemy as sa
from sqlmodel import SQLModel
from walks import NODES

from app.actions import keys, workspaces
from app.actions.work import Role
from app.database import Database, insert_rows, table_of
from app.lane_tables import WebhookDelivery
from app.rules.ids import PREFIXES, new_id
from app.settings import QUERIES
from app.tables import Activity, Email, ImportJob, ImportRowError, UndoConflict

#: What is sent wherever a file goes in.
FILE = b"email,firstName\nemil@example.com,Emil\n"


def files_in(value: Any, path: str) -> Iterator[str]:
    """Name the places at which a file stands among variables."""
    if isinstance(value, bytes):
        yield path
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from files_in(part, f"{path}.{name}")


@dataclass(frozen=True)
class Asker:
    """Somebody with a key, who reads answers byte for byte."""

    client: httpx2.AsyncClient
    key: str
    key_id: str

    async def post(self, document: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """Send a document (its text, or its name in `queries/`) and give the whole response."""
        text = document if "{" in document else (QUERIES / f"{document}.graphql").read_text()
        sent = {"authorization": f"Bearer {self.key}", **headers}
        content = {"query": text, "variables": variables or {}}
        places = list(files_in(content["variables"], "variables"))
        if not places:
            return await self.client.post("/graphql", json=content, headers=sent)
        parts = {"operations": json.dumps(content, default=lambda _: None), "map": json.dumps({"0": places})}
        file = {"0": ("leads.csv", FILE)}
        return await self.client.post("/graphql", data=parts, files=file, headers={"graphql-require-preflight": "1", **sent})

    async def data(self, document: str, **variables: Any) -> Any:
        """Give the data; an answer with errors fails the test."""
        answer = (await self.post(document, variables)).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def errors(self, document: str, variables: dict[str, Any] | None = None) -> list[Any]:
        """Give the errors, none where there is data."""
        errors: list[Any] = (await self.post(document, variables)).json().get("errors", [])
        return errors


@dataclass(frozen=True, eq=False)
class Tenant:
    """A workspace, its administrator, and the names of what is in it. `token` stands in every text that it holds."""

    admin: Asker
    workspace: str
    slug: str
    token: str
    ids: dict[str, str]

    @property
    def email(self) -> str:
        """The address of its lead."""
        return f"ada.{self.token}@example.com"

    @property
    def crm_id(self) -> str:
        """The CRM id of its lead."""
        return f"crm-{self.token}"

    @property
    def user_email(self) -> str:
        """The address of its user."""
        return f"uma.{self.token}@example.com"

    @property
    def names(self) -> list[str]:
        """All by which something of it may be named, but for cursors."""
        return [*self.ids.values(), self.email, self.crm_id, self.user_email, self.token]


def unknown_to_all() -> Tenant:
    """Give names of the same form as a tenant's that never were."""
    ids = {name: new_id(PREFIXES[name]) for name in [*NODES, "claim"]}
    return Tenant(None, ids["Workspace"], "", secrets.token_hex(8), ids)  # type: ignore[arg-type]


async def asker(database: Database, client: httpx2.AsyncClient, workspace: str, role: Role) -> Asker:
    """Make a key of this role, and give who asks with it."""
    async with database.writing() as connection:
        row, key = await keys.create_key(connection, workspace, f"key of {role}", role)
    return Asker(client, key, row["id"])


async def furnish(database: Database, client: httpx2.AsyncClient) -> Tenant:
    """Make a workspace with one of everything that has an id; what no mutation makes yet is put in as rows."""
    token = secrets.token_hex(8)
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug=f"slug-{token}", name=f"Name {token}")
    admin = await asker(database, client, workspace["id"], Role.ADMIN)
    found = Tenant(admin, workspace["id"], workspace["slug"], token, {})
    api = admin.data
    user = (await api("users/create", input={"email": found.user_email, "name": f"Uma {token}", "role": "EDITOR"}))["userCreate"]["user"]
    criteria = {"titles": [f"CTO {token}"], "sources": ["linkedin"]}
    campaign = (await api("campaigns/create", input={"name": f"Spring {token}", "criteria": criteria}))["campaignCreate"]["campaign"]
    rows = [
        {
            "email": found.email,
            "crmId": found.crm_id,
            "firstName": f"Ada {token}",
            "company": f"Works {token}",
            "source": f"fair {token}",
            "attributes": {"at": token},
        },
        {"email": f"bob.{token}@example.com", "lastName": f"Bob {token}", "source": "linkedin", "title": f"CTO {token}"},
    ]
    upserted = (await api("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
    lead, batch = upserted["results"][0]["leadId"], upserted["batch"]["id"]
    await api("campaigns/add_leads", id=campaign["id"], leads=[{"id": lead}])
    await api("leads/assign", lead={"id": lead}, user={"id": user["id"]})
    webhook = (await api("webhooks/create", input={"url": f"https://{token}.example.com", "kinds": []}))["webhookCreate"]["webhook"]["id"]
    actions = [{"addToCampaign": campaign["id"]}, {"assignTo": {"id": user["id"]}}, {"callWebhook": webhook}]
    automation = {"name": f"Greet {token}", "event": f"signed {token}", "actions": actions}
    automation = (await api("automations/create", input=automation))["automationCreate"]["automation"]
    event = {"lead": {"id": lead}, "event": f"signed {token}", "attributes": {"at": token}}
    [run] = (await api("events/track", input=event))["leadEventTrack"]["runs"]
    told = (await api("activities/list", where={"leadId": {"eq": lead}}))["activities"]["nodes"][0]
    ids = {"Lead": lead, "Campaign": campaign["id"], "User": user["id"], "Batch": batch, "Activity": told["id"]}
    ids |= {
        "Workspace": workspace["id"],
        "ApiKey": admin.key_id,
        "Email": new_id("eml"),
        "ImportJob": new_id("imp"),
        "claim": new_id("clm"),
        "Automation": automation["id"],
        "AutomationRun": run["id"],
        "Webhook": webhook,
        "WebhookDelivery": new_id("dlv"),
    }
    assert sorted(ids) == [*NODES, "claim"], "a type with an id of which nothing is made"
    found.ids.update(ids)
    await _write_what_no_mutation_makes(database, found)
    return found


async def _write_what_no_mutation_makes(database: Database, of: Tenant) -> None:
    now, here, ids = datetime.now(UTC), {"workspace_id": of.workspace}, of.ids
    email = {
        "id": ids["Email"], "lead_id": ids["Lead"], "campaign_id": ids["Campaign"], "to_address": None, "subject": f"Hello {of.token}",
        "body": f"Dear {of.token}", "status": "SCHEDULED", "scheduled_at": now, "sent_at": None, "error": None, "claim_id": ids["claim"],
        "lease_until": None, "created_at": now,
    }  # fmt: skip
    job = {
        "id": ids["ImportJob"], "status": "RUNNING", "dry_run": False, "actor_id": ids["ApiKey"], "file_name": f"{of.token}.csv",
        "campaign_id": ids["Campaign"], "batch_id": ids["Batch"], "mapping": [{"column": of.token, "field": "email"}], "progress": 50,
        "rejected_url": None, "error": None, "created_at": now, "finished_at": None, "created": 1, "updated": 0, "unchanged": 0,
        "skipped": 0, "failed": 1, "deleted": 0,
    }  # fmt: skip
    wrong = {"import_job_id": ids["ImportJob"], "line": 2, "errors": [{"code": "INVALID", "message": of.token, "field": None}]}
    conflict = {"batch_id": ids["Batch"], "position": 1, "lead_id": ids["Lead"], "field": "title"}
    delivery = {
        "id": ids["WebhookDelivery"], "webhook_id": ids["Webhook"], "activity_id": ids["Activity"], "lane": ids["Webhook"], "position": 1,
        "status": "FAILED", "attempts": 3, "run_at": now, "claimed_by": None, "lease_until": None, "error": f"It said {of.token}",
        "created_at": now, "finished_at": now, "response_status": 500,
    }  # fmt: skip
    async with database.writing() as connection:
        for model, row in (
            (WebhookDelivery, delivery), (Email, email),
            (ImportJob, job), (ImportRowError, {**wrong, "raw": {"email": of.token}}), (UndoConflict, conflict),
        ):  # fmt: skip
            await insert_rows(connection, table_of(model), [{**here, **row}])
        # All that was done about its lead was done in the batch and for the campaign: so it differs from what was done for any other.
        log = table_of(Activity)
        its_own = (log.c.workspace_id == sa.bindparam("workspace"), log.c.lead_id == sa.bindparam("lead"))
        told = sa.update(log).where(*its_own).values(campaign_id=sa.bindparam("campaign"), batch_id=sa.bindparam("batch"))
        names = {"workspace": of.workspace, "lead": ids["Lead"], "campaign": ids["Campaign"], "batch": ids["Batch"]}
        await connection.execute(told, names)


async def rows_of(database: Database, workspace: str, *, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Read all rows of a workspace, the log's and the search index's too, by table: what an attack must not change.

    When a key was last used is no part of it: that is noted beside the requests.
    """
    found: dict[str, list[str]] = {}
    async with database.writing() as connection:
        for name, table in SQLModel.metadata.tables.items():
            own = table.c.id if name == "workspace" else table.c.workspace_id
            columns = [column for column in table.c if column.name != "last_used_at"]
            rows = await connection.execute(sa.select(*columns).where(own == sa.bindparam("workspace")), {"workspace": workspace})
            found[name] = sorted(repr(tuple(row)) for row in rows)
        if not database.is_postgres:
            words = await connection.execute(sa.text("SELECT * FROM lead_search WHERE workspace_id = :workspace"), {"workspace": workspace})
            found["lead_search"] = sorted(repr(tuple(row)) for row in words)
    assert found["workspace"], "no such workspace"
    return {name: rows for name, rows in found.items() if name not in but}


def arguments_for(root: str, of: Tenant) -> dict[str, Any]:
    """Give arguments with which a root field does its work in this workspace. A new one that needs any fails here, by name."""
    return ARGUMENTS[root](of) if root in ARGUMENTS else {}


def _lead(of: Tenant) -> dict[str, Any]:
    return {"id": of.ids["Lead"]}


#: By root field: those that take no argument, or need none, are left out.
ARGUMENTS: dict[str, Any] = {
    "node": lambda of: {"id": of.ids["Lead"]},
    "nodes": lambda of: {"ids": list(of.ids.values())},
    "lead": lambda of: {"by": _lead(of)},
    "campaign": lambda of: {"id": of.ids["Campaign"]},
    "leadCreate": lambda of: {"input": {"email": f"cleo.{of.token}@example.com"}},
    "leadUpdate": lambda of: {"lead": {"email": f"bob.{of.token}@example.com"}, "patch": {"title": f"CEO {of.token}"}},
    "leadDelete": lambda of: {"lead": _lead(of)},
    "leadAssign": lambda of: {"lead": _lead(of), "user": None},
    "leadScore": lambda of: {"leads": [_lead(of)]},
    "leadUpsertMany": lambda of: {"input": {"leads": [{"email": f"dora.{of.token}@example.com"}]}},
    "leadUpdateMany": lambda of: {"where": {"id": {"eq": of.ids["Lead"]}}, "patch": {"title": f"COO {of.token}"}, "expectedCount": 1},
    "leadDeleteMany": lambda of: {"where": {"id": {"in": [of.ids["Lead"]]}}, "expectedCount": 1},
    "batchUndo": lambda of: {"id": of.ids["Batch"]},
    "leadEventTrack": lambda of: {"input": {"lead": _lead(of), "event": f"page.viewed {of.token}"}},
    "leadEventTrackMany": lambda of: {"events": [{"crmId": of.crm_id, "event": f"page.viewed {of.token}"}]},
    "leadImport": lambda _: {"input": {"file": FILE}},
    "leadImportPreview": lambda _: {"input": {"file": FILE}},
    "importJobCancel": lambda of: {"id": of.ids["ImportJob"]},
    "campaignCreate": lambda of: {"input": {"name": f"Summer {of.token}"}},
    "campaignUpdate": lambda of: {"id": of.ids["Campaign"], "patch": {"status": "ACTIVE"}},
    "campaignDelete": lambda of: {"id": of.ids["Campaign"]},
    "campaignAddLeads": lambda of: {"id": of.ids["Campaign"], "leads": [_lead(of)]},
    "campaignRemoveLeads": lambda of: {"id": of.ids["Campaign"], "leads": [_lead(of)]},
    "automationCreate": lambda of: {"input": {"name": "New", "event": f"new {of.token}", "actions": [{"setStatus": "CONTACTED"}]}},
    "automationUpdate": lambda of: {"id": of.ids["Automation"], "patch": {"name": f"Other {of.token}"}},
    "automationDelete": lambda of: {"id": of.ids["Automation"]},
    "webhookCreate": lambda of: {"input": {"url": f"https://new.{of.token}.example.com", "kinds": []}},
    "webhookUpdate": lambda of: {"id": of.ids["Webhook"], "patch": {"enabled": False}},
    "webhookDelete": lambda of: {"id": of.ids["Webhook"]},
    "webhookRedeliver": lambda of: {"deliveryId": of.ids["WebhookDelivery"]},
    "emailSchedule": lambda of: {"input": {"lead": _lead(of), "subject": "Hello", "body": "Dear", "scheduledAt": "2026-01-20T10:00:00Z"}},
    "emailCancel": lambda of: {"id": of.ids["Email"]},
    "emailReport": lambda of: {"id": of.ids["Email"], "claimId": of.ids["claim"], "error": "bounced"},
    "scoringRulesUpdate": lambda _: {"patch": {"threshold": 70}},
    "userCreate": lambda of: {"input": {"email": f"vera.{of.token}@example.com", "role": "EDITOR"}},
    "userUpdate": lambda of: {"id": of.ids["User"], "patch": {"name": f"Ursula {of.token}"}},
    "userDelete": lambda of: {"id": of.ids["User"]},
    "apiKeyCreate": lambda of: {"input": {"name": f"script {of.token}", "role": "VIEWER"}},
    "apiKeyRevoke": lambda of: {"id": of.ids["ApiKey"]},
}
