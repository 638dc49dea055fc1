"""JSON Web Tokens (RFC 7519): whose they are, when they are good. Signed with a shared secret, or with a key of a published set."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import structlog

from app.errors import Unauthenticated, Unavailable
from app.rules.emails import email_key
from app.settings import Settings

logger = structlog.get_logger("leadgraph.tokens")

#: What a key set may sign with; a secret signs HS256 and nothing else, so that no public key is ever taken for a secret.
ASYMMETRIC = ("RS256", "ES256", "EdDSA")
#: Seconds by which two clocks may differ.
LEEWAY = 10
#: Seconds after which a key set is read again, and between two readings for a key that is not in it.
KEYS_AGE = 600.0
BETWEEN_READINGS = 60.0
#: Seconds between two readings while there is no key set at all.
BETWEEN_FAILURES = 5.0

#: What the library raises for texts that are no token: its own errors, and those of numbers and nesting beyond all measure.
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says: the folded e-mail of its user, and the second of the epoch at which it ends."""

    email: str
    ends: float


class Tokens:
    """Checks tokens by the installation's settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key_set = KeySet(settings.jwt_jwks_url) if settings.jwt_jwks_url else None

    async def verify(self, token: str) -> Claims:
        """Check a token: signature, `exp`, `nbf`, `email`, and `aud` and `iss` where they are set. Raises Unauthenticated."""
        try:
            header = jwt.get_unverified_header(token)
        except _BROKEN as error:
            raise Unauthenticated from error
        key = await self._key(header)
        audience, issuer = self._settings.jwt_audience, self._settings.jwt_issuer
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                audience=audience,
                issuer=issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "email"], "verify_aud": audience is not None, "verify_iss": issuer is not None},
            )
            return Claims(email=_address(claims), ends=float(claims["exp"]) + LEEWAY)
        except _BROKEN as error:
            raise Unauthenticated from error

    async def _key(self, header: dict[str, Any]) -> Any:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._settings.jwt_secret is not None:
            return self._settings.jwt_secret.get_secret_value()
        if algorithm in ASYMMETRIC and self._key_set is not None:
            return await self._key_set.find(header.get("kid"), algorithm)
        raise Unauthenticated

    async def close(self) -> None:
        """Wait for a reading of the key set that is under way."""
        if self._key_set is not None:
            await self._key_set.close()


def _address(claims: dict[str, Any]) -> str:
    email = claims["email"]
    # Some issuers write the boolean as a text.
    if not isinstance(email, str) or str(claims.get("email_verified", True)).lower() != "true":
        raise Unauthenticated
    key = email_key(email)
    if key is None:
        raise Unauthenticated
    return key


class KeySet:
    """The public keys of an issuer (RFC 7517), read from a URL and kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: list[jwt.PyJWK] = []
        self._read_at: float | None = None
        self._not_before = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Give the key of this id (or the only one, where a token names none) that signs by this algorithm.

        Raises Unauthenticated where there is none, Unavailable where the set could not be read yet.
        """
        key = self._match(key_id, algorithm)
        if key is not None:
            if self._read_at is not None and time.monotonic() - self._read_at > KEYS_AGE:
                self._read_again()  # beside the request: the keys that are here are still good
            return key
        self._read_again()
        if self._reading is not None:
            await asyncio.shield(self._reading)
        key = self._match(key_id, algorithm)
        if key is not None:
            return key
        if self._read_at is None:
            raise Unavailable("The keys that tokens are signed with cannot be read right now: try again.")
        raise Unauthenticated

    def _match(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm and key_id in (None, key.key_id)]
        return fitting[0] if len(fitting) == 1 else None

    def _read_again(self) -> None:
        """Begin to read the set, unless that was done a moment ago or is under way."""
        if self._reading is None and time.monotonic() >= self._not_before:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async with httpx2.AsyncClient(timeout=3) as client:
                answer = await client.get(self._url)
            answer.raise_for_status()
            self._keys = list(_signing_keys(answer.json()))
            self._read_at = time.monotonic()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, LookupError, AttributeError) as error:
            logger.warning("jwks.unreadable", error=f"{type(error).__name__}: {error}")
        finally:
            self._not_before = time.monotonic() + (BETWEEN_FAILURES if self._read_at is None else BETWEEN_READINGS)
            self._reading = None

    async def close(self) -> None:
        """Wait for a reading that is under way."""
        if self._reading is not None:
            await asyncio.shield(self._reading)


def _signing_keys(answer: Any) -> list[jwt.PyJWK]:
    keys = []
    for described in answer["keys"]:
        if described.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(described)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue  # of a kind that we don't know: another key may be of use
        if key.algorithm_name in ASYMMETRIC:
            keys.append(key)
    return keys
