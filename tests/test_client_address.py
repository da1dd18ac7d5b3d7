"""Whose address a request counts for, with and without proxies."""

import ipaddress

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from authapi.client_address import TrustedProxies, client_address, parse_address, rate_limit_key
from authapi.middleware.client_address import ClientAddressMiddleware

NOBODY = TrustedProxies()
PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:aaaa::/48"])

SPELLINGS_OF_ONE_IPV6 = [
    "2001:db8::7",
    "2001:DB8::7",
    "2001:0db8:0000:0000:0000:0000:0000:0007",
    "2001:db8:0:0::7",
    "[2001:db8::7]",
    "[2001:db8::7]:443",
    "2001:db8::7%eth0",
    " 2001:db8::7\t",
]
SPELLINGS_OF_ONE_IPV4 = [
    "203.0.113.7",
    "203.0.113.7:1234",
    "::ffff:203.0.113.7",
    "::FFFF:203.0.113.7",
    "::ffff:cb00:7107",
    "0:0:0:0:0:ffff:cb00:7107",
    "[::ffff:203.0.113.7]:80",
    "::ffff:203.0.113.7%1",
]
GARBAGE = [
    "",
    " ",
    "unknown",
    "_hidden",
    "203.0.113",
    "203.0.113.256",
    "0203.0.113.7",
    "203.0.113.7:",
    "203.0.113.7:http",
    "203.0.113.7:123456",
    "203.0.113.7/32",
    "[2001:db8::7",
    "[2001:db8::7]x",
    "[2001:db8::7]443",
    "2001:db8:::7",
    "2001:db8::7::",
    "203.0.113.²",
    "%",
    "1" * 100_000,
    ":" * 100_000,
]


class TestParseAddress:
    @pytest.mark.parametrize("text", SPELLINGS_OF_ONE_IPV6)
    def test_ipv6_spellings_are_one_address(self, text: str) -> None:
        assert str(parse_address(text)) == "2001:db8::7"

    @pytest.mark.parametrize("text", SPELLINGS_OF_ONE_IPV4)
    def test_ipv4_spellings_are_one_address(self, text: str) -> None:
        assert str(parse_address(text)) == "203.0.113.7"

    @pytest.mark.parametrize("text", GARBAGE)
    def test_garbage_is_no_address(self, text: str) -> None:
        assert parse_address(text) is None


class TestRateLimitKey:
    def test_ten_thousand_addresses_of_one_network_are_one_key(self) -> None:
        network = ipaddress.IPv6Network("2001:db8:1:2::/64")
        keys = {rate_limit_key(str(network[n * 2**40])) for n in range(10_000)}
        assert keys == {"2001:db8:1:2::/64"}

    def test_neighbouring_networks_differ(self) -> None:
        assert rate_limit_key("2001:db8:1:2::1") != rate_limit_key("2001:db8:1:3::1")

    def test_spellings_share_a_key(self) -> None:
        assert len({rate_limit_key(text) for text in SPELLINGS_OF_ONE_IPV6}) == 1
        assert {rate_limit_key(text) for text in SPELLINGS_OF_ONE_IPV4} == {"203.0.113.7"}

    @pytest.mark.parametrize("text", ["", "local", "testclient", "/run/authapi.sock"])
    def test_without_an_address_all_share_one_key(self, text: str) -> None:
        assert rate_limit_key(text) == "local"


class TestTrustedProxies:
    @pytest.mark.parametrize("cidr", ["*", "0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy", "", "10.0.0.0/33"])
    def test_refuses_everybody_and_nonsense(self, cidr: str) -> None:
        with pytest.raises(ValueError, match=r"^AUTHAPI_PROXY__TRUSTED: [^\n]+$"):
            TrustedProxies([cidr])

    def test_a_single_address_is_a_network(self) -> None:
        assert ipaddress.ip_address("10.0.0.1") in TrustedProxies(["10.0.0.1"])


class TestClientAddress:
    def test_trusts_nobody_by_default(self) -> None:
        assert client_address("127.0.0.1", ["198.51.100.1"], NOBODY) == "127.0.0.1"

    def test_an_untrusted_peer_cannot_forward(self) -> None:
        assert client_address("203.0.113.7", ["198.51.100.1"], PROXIES) == "203.0.113.7"

    def test_takes_the_client_from_a_trusted_proxy(self) -> None:
        assert client_address("10.0.0.1", ["203.0.113.7"], PROXIES) == "203.0.113.7"

    def test_the_leftmost_value_is_the_clients_invention(self) -> None:
        assert client_address("10.0.0.1", ["198.51.100.1, 203.0.113.7"], PROXIES) == "203.0.113.7"

    def test_walks_through_several_proxies(self) -> None:
        forwarded = ["198.51.100.1, 203.0.113.7, 2001:db8:aaaa::1, 10.9.9.9"]
        assert client_address("10.0.0.1", forwarded, PROXIES) == "203.0.113.7"

    def test_an_invented_proxy_left_of_the_client_is_not_reached(self) -> None:
        assert client_address("10.0.0.1", ["198.51.100.1, 10.0.0.9, 203.0.113.7"], PROXIES) == "203.0.113.7"

    def test_header_lines_are_one_list_in_their_order(self) -> None:
        assert client_address("10.0.0.1", ["198.51.100.1", "203.0.113.7, 10.0.0.2"], PROXIES) == "203.0.113.7"

    @pytest.mark.parametrize("garbage", GARBAGE)
    def test_garbage_ends_the_walk_at_the_last_proxy(self, garbage: str) -> None:
        assert client_address("10.0.0.1", [f"203.0.113.7, {garbage}, 10.0.0.2"], PROXIES) == "10.0.0.2"

    def test_a_request_of_the_proxy_itself(self) -> None:
        assert client_address("10.0.0.1", [], PROXIES) == "10.0.0.1"
        assert client_address("10.0.0.1", ["10.0.0.3, 10.0.0.2"], PROXIES) == "10.0.0.3"

    def test_a_mapped_peer_is_the_proxy_that_was_named(self) -> None:
        assert client_address("::ffff:10.0.0.1", ["[2001:DB8::7]:443"], PROXIES) == "2001:db8::7"

    @pytest.mark.parametrize("peer", [None, "", "/run/authapi.sock", "testclient"])
    def test_a_peer_without_address_is_local_whatever_it_forwards(self, peer: str | None) -> None:
        assert client_address(peer, ["203.0.113.7"], PROXIES) == "local"

    def test_a_long_header_is_walked_quickly(self) -> None:
        assert client_address("10.0.0.1", ["10.0.0.2," * 7_000 + "10.0.0.2"], PROXIES) == "10.0.0.2"


async def show_client(request: Request) -> JSONResponse:
    return JSONResponse(request.client)


async def show_client_by_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.client)
    await websocket.close()


def create_app(trusted: TrustedProxies, *, layers: int = 1) -> Starlette:
    return Starlette(
        routes=[Route("/", show_client), WebSocketRoute("/ws", show_client_by_websocket)],
        middleware=[Middleware(ClientAddressMiddleware, trusted=trusted)] * layers,
    )


async def seen_client(app: Starlette, peer: str, headers: list[tuple[str, str]]) -> list[str | int]:
    transport = httpx.ASGITransport(app=app, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        answer: list[str | int] = (await client.get("/", headers=headers)).json()
        return answer


class TestClientAddressMiddleware:
    async def test_without_a_proxy_address_and_port_stay(self) -> None:
        forged = [("X-Forwarded-For", "198.51.100.1")]
        assert await seen_client(create_app(NOBODY), "203.0.113.7", forged) == ["203.0.113.7", 1234]

    async def test_behind_a_proxy_the_port_is_unknown(self) -> None:
        app = create_app(PROXIES)
        assert await seen_client(app, "10.0.0.1", [("X-Forwarded-For", "203.0.113.7")]) == ["203.0.113.7", 0]

    async def test_lines_of_the_header_are_joined(self) -> None:
        headers = [("X-Forwarded-For", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7")]
        assert await seen_client(create_app(PROXIES), "10.0.0.1", headers) == ["203.0.113.7", 0]

    @pytest.mark.parametrize(
        "name",
        ["X_Forwarded_For", "X-Forwarded_For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "X-Client-IP"],
    )
    async def test_no_other_header_counts(self, name: str) -> None:
        value = "for=203.0.113.7" if name == "Forwarded" else "203.0.113.7"
        assert await seen_client(create_app(PROXIES), "10.0.0.1", [(name, value)]) == ["10.0.0.1", 1234]

    async def test_twice_is_as_good_as_once(self) -> None:
        forged = [("X-Forwarded-For", "198.51.100.1, 203.0.113.7")]
        assert await seen_client(create_app(PROXIES, layers=2), "10.0.0.1", forged) == ["203.0.113.7", 0]

    async def test_a_unix_socket_is_local(self) -> None:
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)

        async def receive() -> Message:
            raise AssertionError

        async def send(message: Message) -> None:
            raise AssertionError

        middleware = ClientAddressMiddleware(app, trusted=PROXIES)
        for scope_type in ("http", "websocket"):
            scope = {"type": scope_type, "client": None, "headers": [(b"x-forwarded-for", b"203.0.113.7")]}
            await middleware(scope, receive, send)
            assert scopes.pop()["client"] == ("local", 0)
        await middleware({"type": "lifespan"}, receive, send)
        assert scopes == [{"type": "lifespan"}]
