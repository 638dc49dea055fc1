"""Trials: what the rows of a file would do, decided on top of what the rows before them would have done, and nothing written."""

import pickle
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from app.actions.known_leads import KnownLeads
from app.actions.lead_changes import Move

_KEYS = ("id", "email_key", "crm_id")


class Trial:
    """The leads as the rows so far would have left them.

    They lie in a nameless database of SQLite's own, which goes to disk when it grows and is gone with the process: a long file takes no
    more memory than a short one.
    """

    def __init__(self) -> None:
        self.begun = False
        self._held = sqlite3.connect("", isolation_level=None)
        self._held.execute("PRAGMA journal_mode = OFF")
        self._held.execute("CREATE TABLE lead (id TEXT PRIMARY KEY, email_key TEXT, crm_id TEXT, state BLOB) WITHOUT ROWID")
        self._held.execute("CREATE INDEX by_email ON lead (email_key)")
        self._held.execute("CREATE INDEX by_crm_id ON lead (crm_id)")

    def over(self, known: KnownLeads, rows: Iterable[Mapping[str, Any]]) -> KnownLeads:
        """Lay what would be over what is: the leads that these rows name, and those found for them in the database."""
        named: dict[str, set[str]] = {key: set() for key in _KEYS}
        for row in rows:
            for key, values in named.items():
                if (value := row.get(key)) is not None:
                    values.add(value)
        named["id"].update(known.by_id)
        leads = {lead_id: (lead, known.campaigns[lead_id]) for lead_id, lead in known.by_id.items()}
        for key, values in named.items():
            found = f"SELECT state FROM lead WHERE {key} IN (SELECT value FROM json_each(?))"
            for (state,) in self._held.execute(found, (orjson.dumps(list(values)).decode(),)):
                lead, campaigns = pickle.loads(state)  # noqa: S301  (written below, in this process)
                leads[lead["id"]] = (lead, campaigns)
        # Begun anew, for a key that one of them gave up may be another's by now.
        laid = KnownLeads()
        for lead, campaigns in leads.values():
            laid.put(lead, campaigns)
        return laid

    def take(self, moves: Sequence[Move]) -> None:
        """Keep what these rows would have done."""
        last = {move.lead_id: move for move in moves}
        rows = [
            (lead_id, move.after["email_key"], move.after["crm_id"], pickle.dumps((move.after, move.is_in), pickle.HIGHEST_PROTOCOL))
            for lead_id, move in last.items()
        ]
        self._held.execute("BEGIN")
        self._held.executemany("INSERT OR REPLACE INTO lead VALUES (?, ?, ?, ?)", rows)
        self._held.execute("COMMIT")
