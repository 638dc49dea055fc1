"""The explorer at `/explorer`: GraphiQL where it has been built, a small one of our own until then.

Neither asks another host for anything, and the policy that goes with every page holds them to it.
"""

import re
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.ui import BUILT, SMALL

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
# GraphiQL's editor writes its own style elements and checks documents in workers; its fonts lie within its style sheet.
GRAPHIQL_POLICY = POLICY | {"style-src": "'self' 'unsafe-inline'", "font-src": "'self' data:", "worker-src": "'self'"}

MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}
SMALL_FILES = "client.js", "explorer.css", "explorer.js"
#: A name, never a path: it starts with no dot and holds no separator.
ASSET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

REVALIDATE = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"


def explorer_routes(queries: Path, built: Path = BUILT, small: Path = SMALL) -> list[Route]:
    """Serve the explorer, and beside it the documents of the folder `queries`, read once.

    Whether there is a build is looked up at every request: one that is made meanwhile is served at once.
    """
    documents = orjson.dumps(read_documents(queries))

    def page(_: Request) -> Response:
        graphiql = built / "index.html"
        return send(graphiql, GRAPHIQL_POLICY) if graphiql.is_file() else send(small / "index.html", POLICY)

    def small_file(request: Request) -> Response:
        return send(small / request.url.path.rpartition("/")[2], POLICY)

    def asset(request: Request) -> Response:
        name = request.path_params["name"]
        # The names of assets change with their content.
        return send(built / "assets" / name, GRAPHIQL_POLICY, FOR_EVER) if ASSET_NAME.fullmatch(name) else missing()

    def list_documents(_: Request) -> Response:
        return Response(documents, media_type="application/json", headers=safety(POLICY, REVALIDATE))

    return [
        Route("/explorer", page),
        Route("/explorer/", page),
        Route("/explorer/documents.json", list_documents),
        *(Route(f"/explorer/{name}", small_file) for name in SMALL_FILES),
        Route("/explorer/assets/{name}", asset),
    ]


def read_documents(queries: Path) -> list[dict[str, str]]:
    """Read every document, named by its path without the ending: the list of leads, the others about leads, the rest."""
    names = [(file.relative_to(queries).with_suffix("").as_posix(), file) for file in queries.rglob("*.graphql")]
    names.sort(key=lambda named: (named[0] != "leads/list", not named[0].startswith("leads/"), named[0]))
    return [{"name": name, "text": file.read_text(encoding="utf-8")} for name, file in names]


def send(file: Path, policy: dict[str, str], cache: str = REVALIDATE) -> Response:
    """Answer with a file of a kind that the explorer consists of."""
    media_type = MEDIA_TYPES.get(file.suffix)
    if not media_type or not file.is_file():
        return missing()
    return FileResponse(file, media_type=media_type, headers=safety(policy, cache))


def missing() -> Response:
    """Answer that there is no such file."""
    return Response("Not found", 404, media_type="text/plain", headers=safety(POLICY, REVALIDATE))


def safety(policy: dict[str, str], cache: str) -> dict[str, str]:
    """Headers that keep a page to itself."""
    return {
        "Cache-Control": cache,
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
