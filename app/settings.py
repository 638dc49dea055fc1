"""Settings, one a line: name, type, default, help. They come from the environment with the prefix `LEADGRAPH_`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

QUERIES = Path(__file__).resolve().parent.parent / "queries"


class Settings(BaseSettings):
    """What an installation may choose."""

    model_config = SettingsConfigDict(env_prefix="LEADGRAPH_", frozen=True)

    database_url: Annotated[str, Field(description="`sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://USER@HOST/NAME`")] = (
        "sqlite+aiosqlite:///leadgraph.db"
    )
    readers: Annotated[int, Field(ge=1, le=200, description="reading connections a process")] = 8
    writers: Annotated[int, Field(ge=1, le=200, description="writing connections a process (PostgreSQL; SQLite has one)")] = 8
    jwt_secret: Annotated[SecretStr | None, Field(description="secret of HS256 tokens")] = None
    jwt_jwks_url: Annotated[str | None, Field(description="URL of the key set that signs RS256, ES256 or EdDSA tokens")] = None
    jwt_audience: Annotated[str | None, Field(description="`aud` that a token must have")] = None
    jwt_issuer: Annotated[str | None, Field(description="`iss` that a token must have")] = None
    caller_cache_seconds: Annotated[float, Field(ge=0, le=1, description="how long a key's look-up is remembered")] = 0.5
    rate_per_second: Annotated[int, Field(ge=0, description="most requests a second of a workspace, in each process; 0 lifts it")] = 100
    rate_per_minute: Annotated[int, Field(ge=0, description="most requests a minute of a workspace, in each process; 0 lifts it")] = 6_000
    max_body_bytes: Annotated[int, Field(ge=1_000, description="largest JSON request")] = 1_048_576
    max_upload_bytes: Annotated[int, Field(ge=1_000, description="largest uploaded file")] = 10_485_760
    upload_seconds: Annotated[float, Field(gt=0, description="longest that a file may take to arrive")] = 60.0
    max_tokens: Annotated[int, Field(ge=100, description="most tokens of a document")] = 2_000
    max_document_bytes: Annotated[int, Field(ge=1_000, description="largest document")] = 100_000
    max_depth: Annotated[int, Field(ge=1, description="most levels of fields of an operation")] = 12
    max_aliases: Annotated[int, Field(ge=0, description="most aliases of an operation")] = 30
    max_directives: Annotated[int, Field(ge=0, description="most directives of an operation")] = 50
    max_root_fields: Annotated[int, Field(ge=1, description="most root fields of an operation")] = 20
    max_cost: Annotated[int, Field(ge=1, description="most objects that a request may ask for")] = 10_000
    persisted_only: Annotated[bool, Field(description="run the documents of `queries/` alone, by `documentId`")] = False
    max_json_depth: Annotated[int, Field(ge=4, description="deepest JSON of a request")] = 32
    max_where_conditions: Annotated[int, Field(ge=10, description="most conditions of all filters of a request")] = 300
    request_seconds: Annotated[float, Field(gt=0, description="longest request")] = 10.0
    statement_seconds: Annotated[float, Field(gt=0, description="longest statement that reads")] = 5.0
    max_subscriptions: Annotated[int, Field(ge=1, description="most operations at once on a WebSocket")] = 20
    max_connections: Annotated[int, Field(ge=1, description="most WebSockets and event streams of a key or user, a process")] = 50
    max_message_bytes: Annotated[int, Field(ge=1_000, description="largest message on a WebSocket")] = 65_536
    heartbeat_seconds: Annotated[float, Field(gt=0, description="longest silence on a WebSocket or event stream")] = 15.0
    plan_cache_size: Annotated[int, Field(ge=1, description="compiled plans kept a process")] = 1_000
    worker: Annotated[bool, Field(description="run due jobs inside `leadgraph serve`")] = True
    worker_poll_seconds: Annotated[float, Field(gt=0, description="how often a worker looks for due jobs that nobody woke it for")] = 1.0
    job_lease_seconds: Annotated[float, Field(gt=0, description="how long a job is a worker's without a heartbeat")] = 60.0
    idempotency_hours: Annotated[float, Field(gt=0, description="how long the answer to a request with an `Idempotency-Key` is kept")] = (
        24.0
    )
    webhook_private_hosts: Annotated[
        str, Field(description="private host names, addresses and networks that webhooks may reach, commas between them")
    ] = ""
    log_level: Annotated[str, Field(pattern="^(?i:DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")] = "INFO"
