"""A request's headers, read once: they are looked up a dozen times a request."""

from starlette.datastructures import Headers
from starlette.types import Scope


class Heads(Headers):
    """Starlette's headers for one request, by name."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(raw=scope["headers"])
        self._by_name: dict[str, list[str]] = {}
        for name, value in self._list:
            self._by_name.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def getlist(self, key: str) -> list[str]:
        """Give all values of a name, none where it is not there."""
        return self._by_name.get(key.lower(), [])

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Give the first value of a name."""
        found = self._by_name.get(key.lower())
        return found[0] if found else default

    def __contains__(self, key: object) -> bool:
        """Tell whether a name is there."""
        return isinstance(key, str) and key.lower() in self._by_name
