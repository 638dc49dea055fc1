"""Users: who may log in with a token, and have leads assigned. One row a workspace, its e-mail unique in it.

A workspace must not be locked out: the last ADMIN who can still get in, by token or by key, can be neither removed nor demoted.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.actions import activities, references
from app.actions.activities import ActivityKind, Entry
from app.actions.reads import Read
from app.actions.values import choice_of, differences, refusing, short_text
from app.actions.work import Role, Work
from app.database import insert_rows, table_of
from app.errors import BadUserInput, Conflict, Taken, UserNotFound, shown
from app.readers import Reading
from app.rules.emails import EmailAddress, parse_email
from app.rules.ids import new_id
from app.rules.written import change
from app.tables import ApiKey, Lead, User, Workspace

USER = table_of(User)
_KEY = table_of(ApiKey)
_LEAD = table_of(Lead)
_WORKSPACE = table_of(Workspace)

_FIELDS = [("email", "email"), ("name", "name"), ("role", "role")]
_MINE = (USER.c.workspace_id == sa.bindparam("workspace"), USER.c.id == sa.bindparam("user"))


async def create(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Create a user from `email`, `name` (may be blank) and `role`, and give the row."""
    email, key = _email(values.get("email"))
    row: dict[str, Any] = {
        "workspace_id": work.workspace,
        "id": new_id("usr"),
        "email": email,
        "email_key": key,
        "name": short_text(values.get("name"), "input.name"),
        "role": str(choice_of(Role, values.get("role"), "input.role")),
        "created_at": work.now,
    }
    if not await insert_rows(work.connection, USER, [row], ignore=True, returning=["id"]):
        raise Taken(f"input.email {shown(email)}: a user of this workspace has it", argument="input.email")
    await activities.administered(work, "user.created", row["id"], differences({}, row, _FIELDS))
    return row


def _email(value: Any) -> EmailAddress:
    at = "input.email"
    if not isinstance(value, str) or not value.strip():
        raise BadUserInput(f"{at} {shown(value)}: is blank", argument=at, rule="BLANK")
    with refusing(value, at):
        return parse_email(value)


async def update(work: Work, user_id: str, patch: Mapping[str, Any], *, users_log_in: bool = True) -> dict[str, Any]:
    """Change `name` (null clears it) and `role` where the patch names them, and give the row.

    Raises Conflict where it would demote the last ADMIN who can get in; users can where tokens are in use (`users_log_in`).
    """
    before, other_admins = await _locked(work, user_id)
    after = dict(before)
    if "name" in patch:
        after["name"] = short_text(patch["name"], "patch.name")
    if "role" in patch:
        after["role"] = str(choice_of(Role, patch["role"], "patch.role"))
    changes = differences(before, after, _FIELDS)
    if not changes:
        return before
    demoted = before["role"] == Role.ADMIN and after["role"] != Role.ADMIN
    if users_log_in and demoted and not other_admins:
        await _refuse_without_keys(work, "patch.role")
    await work.run(sa.update(USER).values(name=after["name"], role=after["role"]).where(*_MINE), {"user": user_id})
    await activities.administered(work, "user.updated", user_id, changes)
    return after


async def delete(work: Work, user_id: str, *, users_log_in: bool = True) -> str:
    """Delete a user, whose leads are then nobody's, and give the id.

    Raises Conflict where it would remove the last ADMIN who can get in; users can where tokens are in use (`users_log_in`).
    """
    row, other_admins = await _locked(work, user_id)
    if users_log_in and row["role"] == Role.ADMIN and not other_admins:
        await _refuse_without_keys(work, "id")
    entries = await _unassign(work, user_id)
    await work.run(sa.delete(USER).where(*_MINE), {"user": user_id})
    gone = Entry(ActivityKind.ADMINISTERED, subject_id=user_id, event="user.deleted", changes=differences(row, {}, _FIELDS))
    await activities.record(work, [*entries, gone])
    return user_id


async def _locked(work: Work, user_id: str) -> tuple[dict[str, Any], list[str]]:
    """Find a user and the other ADMINs, all locked in the order of their ids: two last ones cannot remove each other at once."""
    concerned = sa.or_(USER.c.id == sa.bindparam("user"), USER.c.role == Role.ADMIN)
    statement = sa.select(USER).where(USER.c.workspace_id == sa.bindparam("workspace"), concerned).order_by(USER.c.id).with_for_update()
    rows = {row["id"]: row for row in await work.rows(statement, {"user": references.checked(user_id, "id")})}
    row = rows.pop(user_id, None)
    if row is None:
        raise UserNotFound(argument="id")
    return row, list(rows)


async def _refuse_without_keys(work: Work, argument: str) -> None:
    if not await work.rows(LIVE_ADMIN_KEYS, {"now": work.now}):
        raise Conflict("This is the last ADMIN who can get in: make another user or an API key ADMIN first.", argument=argument)


#: The keys by which an ADMIN can get in, locked in the order of their ids (after the users, where both are).
LIVE_ADMIN_KEYS = (
    sa.select(_KEY.c.id)
    .where(
        _KEY.c.workspace_id == sa.bindparam("workspace"),
        _KEY.c.role == Role.ADMIN,
        _KEY.c.revoked_at.is_(sa.null()),
        sa.or_(_KEY.c.expires_at.is_(sa.null()), _KEY.c.expires_at > sa.bindparam("now", type_=_KEY.c.expires_at.type)),
    )
    .order_by(_KEY.c.id)
    .with_for_update()
)
#: The users who are ADMIN, locked likewise.
ADMINS = (
    sa.select(USER.c.id)
    .where(USER.c.workspace_id == sa.bindparam("workspace"), USER.c.role == Role.ADMIN)
    .order_by(USER.c.id)
    .with_for_update()
)


async def _unassign(work: Work, user_id: str) -> list[Entry]:
    mine = (_LEAD.c.workspace_id == sa.bindparam("workspace"), _LEAD.c.assignee_id == sa.bindparam("user"))
    # Leads are locked in the order of their ids, here as everywhere.
    theirs = await work.rows(sa.select(_LEAD.c.id).where(*mine).order_by(_LEAD.c.id).with_for_update(), {"user": user_id})
    if theirs:
        changed = sa.update(_LEAD).values(assignee_id=None, version=_LEAD.c.version + 1, updated_at=work.now).where(*mine)
        await work.run(changed, {"user": user_id})
    return [Entry(ActivityKind.ASSIGNED, lead_id=row["id"], changes=[change("assignee", user_id, None)]) for row in theirs]


# A token says who somebody is, not where: an exception of the fourth law.
_BY_EMAIL = Read(
    sa.select(USER.c.workspace_id, USER.c.id, USER.c.role, _WORKSPACE.c.slug)
    .join_from(USER, _WORKSPACE, _WORKSPACE.c.id == USER.c.workspace_id)
    .where(USER.c.email_key == sa.bindparam("email"))
    .order_by(_WORKSPACE.c.slug)
)


async def everywhere(reading: Reading, email_key: str) -> list[dict[str, Any]]:
    """Find the users with this folded e-mail in all workspaces: `workspace_id`, `slug`, `id`, `role`, by slug."""
    return await _BY_EMAIL.rows(reading, email=email_key)
