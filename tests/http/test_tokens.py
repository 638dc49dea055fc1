import asyncio
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from app.errors import Unauthenticated, Unavailable
from app.http import tokens
from app.http.tokens import Tokens
from app.settings import Settings

SECRET = "a secret of more than thirty-two characters"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = {"RS256": RSA, "ES256": ec.generate_private_key(ec.SECP256R1()), "EdDSA": ed25519.Ed25519PrivateKey.generate()}
EMAIL = "ada@example.com"


def checking(**settings):
    return Tokens(Settings(**settings))


def signed(key=SECRET, algorithm="HS256", key_id=None, **claims):
    said = {"email": EMAIL, "exp": int(time.time()) + 600, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm=algorithm, headers=None if key_id is None else {"kid": key_id})


async def test_a_good_token_names_its_user_folded_and_says_when_it_ends():
    ends = int(time.time()) + 60
    claims = await checking(jwt_secret=SECRET).verify(signed(email="Ada@Example.COM", exp=ends))
    assert [claims.email, claims.ends] == [EMAIL, ends + tokens.LEEWAY]


async def test_clocks_may_differ_by_seconds():
    now = int(time.time())
    for claims in ({"exp": now - 5}, {"nbf": now + 5}, {"iat": now + 5}):
        assert (await checking(jwt_secret=SECRET).verify(signed(**claims))).email == EMAIL


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": -1},
        {"nbf": 4_000_000_000},
        {"email": None},
        {"email": 5},
        {"email": [EMAIL]},
        {"email": "no address"},
        {"email_verified": False},
        {"email_verified": "false"},
        {"key": "another secret of more than thirty-two characters"},
        {"algorithm": "HS512", "key": SECRET * 2},
        {"algorithm": "none", "key": None},
    ],
)
async def test_a_token_with_something_wrong_is_refused(claims):
    with pytest.raises(Unauthenticated):
        await checking(jwt_secret=SECRET).verify(signed(**claims))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "e30.e30.", "ey", "\N{SNOWMAN}"])
async def test_what_is_no_token_is_refused(text):
    with pytest.raises(Unauthenticated):
        await checking(jwt_secret=SECRET).verify(text)


async def test_a_token_whose_parts_are_nested_too_deep_is_refused():
    deep = jwt.utils.base64url_encode(b"[" * 2_900).decode()
    head, body, signature = signed().split(".")
    secret_signs = jwt.get_algorithm_by_name("HS256").sign(f"{head}.{deep}".encode(), SECRET.encode())
    for text in (f"{deep}.{body}.{signature}", f"{head}.{deep}.{jwt.utils.base64url_encode(secret_signs).decode()}"):
        with pytest.raises(Unauthenticated):
            await checking(jwt_secret=SECRET).verify(text)


async def test_a_verified_email_is_taken_as_boolean_and_as_text():
    for verified in (True, "true"):
        assert (await checking(jwt_secret=SECRET).verify(signed(email_verified=verified))).email == EMAIL


async def test_audience_and_issuer_count_where_they_are_set():
    good = {"aud": ["leadgraph", "other"], "iss": "https://id.example.com"}
    strict = checking(jwt_secret=SECRET, jwt_audience="leadgraph", jwt_issuer="https://id.example.com")
    assert (await strict.verify(signed(**good))).email == EMAIL
    assert (await checking(jwt_secret=SECRET).verify(signed(**good))).email == EMAIL
    for wrong in ({"aud": None}, {"aud": "other"}, {"iss": None}, {"iss": "https://evil.example.com"}):
        with pytest.raises(Unauthenticated):
            await strict.verify(signed(**{**good, **wrong}))


async def test_tokens_are_refused_where_none_are_in_use():
    with pytest.raises(Unauthenticated):
        await checking().verify(signed())


class Issuer:
    """Publishes keys on 127.0.0.1 and counts how often they are read."""

    def __init__(self):
        self.keys, self.reads, self.answer = [], 0, None

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/keys"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.reads += 1
        body = json.dumps({"keys": self.keys}).encode() if self.answer is None else self.answer
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def publish(self, algorithm, private, key_id, **more):
        described = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
        self.keys.append({**described, "kid": key_id, **more})


@pytest.fixture
async def issuer():
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
async def trusting(issuer):
    """Checks tokens by the issuer's keys."""
    checks = checking(jwt_jwks_url=issuer.url)
    yield checks
    await checks.close()


def age(checks):
    """Let as much time pass as makes a key set old."""
    checks._key_set._read_at -= tokens.KEYS_AGE + 1
    checks._key_set._not_before -= tokens.KEYS_AGE + 1


async def test_a_key_set_signs_by_three_algorithms(issuer, trusting):
    for algorithm, private in PRIVATE.items():
        issuer.publish(algorithm, private, f"the {algorithm}")
    issuer.keys.append({"kty": "unheard of", "kid": "odd"})
    for algorithm, private in PRIVATE.items():
        assert (await trusting.verify(signed(private, algorithm, f"the {algorithm}"))).email == EMAIL
    assert issuer.reads == 1


async def test_algorithms_are_never_mixed(issuer, trusting):
    issuer.publish("RS256", RSA, "one")
    issuer.publish("ES256", PRIVATE["ES256"], "for encryption", use="enc")
    issuer.keys.append({"kty": "oct", "kid": "secret", "k": jwt.utils.base64url_encode(SECRET.encode()).decode()})
    for text in (
        signed(SECRET, "HS256", "secret"),
        signed(SECRET, "HS256", "one"),
        signed(RSA, "RS512", "one"),
        signed(PRIVATE["ES256"], "ES256", "one"),
        signed(PRIVATE["ES256"], "ES256", "for encryption"),
    ):
        with pytest.raises(Unauthenticated):
            await trusting.verify(text)
    with pytest.raises(Unauthenticated):
        await checking(jwt_secret=SECRET).verify(signed(RSA, "RS256", "one"))


async def test_a_secret_and_a_key_set_stand_side_by_side(issuer):
    issuer.publish("RS256", RSA, "one")
    both = checking(jwt_secret=SECRET, jwt_jwks_url=issuer.url)
    for text in (signed(), signed(RSA, "RS256", "one")):
        assert (await both.verify(text)).email == EMAIL


async def test_a_token_without_a_key_id_takes_the_only_key(issuer, trusting):
    issuer.publish("RS256", RSA, "one")
    assert (await trusting.verify(signed(RSA, "RS256"))).email == EMAIL
    issuer.publish("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048), "two")
    with pytest.raises(Unauthenticated):
        await checking(jwt_jwks_url=issuer.url).verify(signed(RSA, "RS256"))


async def test_an_unknown_key_has_the_set_read_again_at_most_once_a_minute(issuer, trusting):
    issuer.publish("RS256", RSA, "one")
    await trusting.verify(signed(RSA, "RS256", "one"))
    new = PRIVATE["EdDSA"]
    issuer.publish("EdDSA", new, "two")
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await trusting.verify(signed(new, "EdDSA", "two"))
    assert issuer.reads == 1
    trusting._key_set._not_before -= 60
    claims = await asyncio.gather(*[trusting.verify(signed(new, "EdDSA", "two")) for _ in range(5)])
    assert {each.email for each in claims} == {EMAIL}
    assert issuer.reads == 2


async def test_a_key_set_that_is_old_is_read_again_beside_the_request(issuer, trusting):
    issuer.publish("RS256", RSA, "one")
    good = signed(RSA, "RS256", "one")
    await trusting.verify(good)
    age(trusting)
    issuer.keys.clear()
    await trusting.verify(good)
    await trusting.close()
    assert issuer.reads == 2
    with pytest.raises(Unauthenticated):
        await trusting.verify(good)


@pytest.mark.parametrize("answer", [b"no json", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b"{}"])
async def test_a_key_set_that_cannot_be_read_is_our_trouble_and_no_verdict(issuer, trusting, answer):
    issuer.answer = answer
    with pytest.raises(Unavailable):
        await trusting.verify(signed(RSA, "RS256", "one"))
    assert issuer.reads == 1


async def test_known_keys_stay_good_while_the_issuer_is_away(issuer, trusting):
    issuer.publish("RS256", RSA, "one")
    good = signed(RSA, "RS256", "one")
    await trusting.verify(good)
    issuer.server.close()
    age(trusting)
    await trusting.verify(good)
    await trusting.close()
    assert (await trusting.verify(good)).email == EMAIL
    with pytest.raises(Unavailable):
        await checking(jwt_jwks_url=issuer.url).verify(good)
