"""Documents that this server knows by name: a client sends `documentId`, and no text."""

import hashlib
from pathlib import Path

from app.errors import Code, LeadgraphError, shown


class DocumentNotFound(LeadgraphError):
    """This server runs only the documents that it knows: send the `documentId` of one."""

    code = Code.DOCUMENT_NOT_FOUND


class Persisted:
    """The documents of a folder, by file name (`leads/list`, with or without `.graphql`) and by `sha256:` of the text in hex."""

    def __init__(self, folder: Path) -> None:
        self._texts: dict[str, str] = {}
        for file in sorted(folder.rglob("*.graphql")):
            text, name = file.read_text(encoding="utf-8"), file.relative_to(folder).as_posix()
            digest = hashlib.sha256(text.encode()).hexdigest()
            self._texts |= {name: text, name.removesuffix(".graphql"): text, f"sha256:{digest}": text}
        self._known = frozenset(self._texts.values())

    def text(self, document_id: str) -> str:
        """Give the text of a document, or raise DocumentNotFound."""
        found = self._texts.get(document_id)
        if found is None:
            raise DocumentNotFound(
                f"documentId {shown(document_id)}: this server knows no such document. Give a file of `queries/`, such as leads/list, "
                "or sha256: and the digest of its text in hex.",
                argument="documentId",
            )
        return found

    def check(self, text: str) -> None:
        """Raise DocumentNotFound where a text is none of these documents."""
        if text not in self._known:
            raise DocumentNotFound(argument="query")
