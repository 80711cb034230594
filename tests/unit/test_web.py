"""Which addresses a download may reach, and how; ids DL-.. name the faults."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bad_server
import pytest
from bad_server import BODY, Ask, Server, refused, source

from mulgil import fetch, web
from mulgil.errors import FetchError

server, loose, no_folders = bad_server.server, bad_server.loose, bad_server.no_folders


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
        "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "fec0::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    """DL-07."""
    assert not web.is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "185.199.108.133", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert web.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/file",
        "http://127.0.0.1/file",
        "data:text/plain,hello",
        "https://127.0.0.1/file",
        "https://localhost/file",
        "https://[::1]/file",
        "https://[fe80::1]/file",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/file",
        "https://0x7f000001/file",
        "https://0x7f.1/file",
        "https://0177.0.0.1/file",
        "https://[::ffff:127.0.0.1]/file",
        "https://user@8.8.8.8/file",
        "https://8.8.8.8:99999/file",
        "https://8.8.8.8\\@127.0.0.1/file",
        "https:///file",
        "https://8.8.8.8/a b",
        "https://8.8.8.8/a\r\nHost: b",
        "//8.8.8.8/file",
        "",
    ],
)
def test_addresses_that_are_not_asked(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DL-07: refused before any socket is opened, whatever the spelling of the address."""
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(FetchError) as caught:
        fetch.fetch(source(url), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/secret",
        "http://2130706434:{port}/secret",
        "http://0x7f000002:{port}/secret",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.2]:{port}/secret",
        "http://169.254.169.254/secret",
        "http://10.0.0.1/secret",
        "file:///etc/passwd",
        "ftp://127.0.0.1/secret",
        "gopher://127.0.0.1/secret",
        "http://[::1/secret",
        "//127.0.0.2:{port}/secret",
    ],
)
def test_redirects_are_checked_at_every_hop(
    server: Server, loose: Callable[..., None], tmp_path: Path, location: str
) -> None:
    """DL-07: the second hop leads to a forbidden place; it is never asked."""
    forbidden = location.format(port=server.port)
    server.scripts = [
        lambda ask: ask.send(302, "Location: /again"),
        lambda ask: ask.send(307, f"Location: {forbidden}"),
    ]
    refused(server, tmp_path)
    assert [path for path, _ in server.asked] == ["/file", "/again"]


def test_redirects_that_are_allowed_and_their_number(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    def circle(ask: Ask) -> None:
        ask.send(302, f"Location: {server.url('/next')}")

    server.scripts = [circle, circle, Ask.serve]
    assert fetch.fetch(source(server.url()), tmp_path / "a").read_bytes() == BODY
    server.asked.clear()
    server.scripts = [circle]
    assert "more than 5 redirects" in refused(server, tmp_path / "b")
    assert len(server.asked) == 6


def test_a_name_is_resolved_once_a_hop(
    server: Server,
    loose: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """DL-07: the name answers with an allowed address once, and with a forbidden one ever after."""
    answers = iter(["127.0.0.1"])
    looked_up: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        address = next(answers, "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    path = fetch.fetch(source(server.url(host="files.example.org")), tmp_path)
    assert path.read_bytes() == BODY
    assert looked_up == ["files.example.org"]
    server.asked.clear()
    server.scripts = [lambda ask: ask.send(503)]
    assert "127.0.0.2" in refused(server, tmp_path / "b")
    assert server.asked == []


def test_the_checked_address_is_the_one_that_is_dialled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DL-07: with the rules as shipped; one private address among the answers refuses them all."""
    dialled: list[Any] = []
    answers = ["1.1.1.1", "8.8.8.8"]

    class Deaf(socket.socket):
        def connect(self, address: Any) -> None:
            dialled.append(address)
            raise ConnectionRefusedError

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answers]

    monkeypatch.setattr(socket, "socket", Deaf)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(web, "RULES", web.Rules(attempts=1))
    with pytest.raises(FetchError, match="ConnectionRefusedError"):
        fetch.fetch(source("https://files.example.org/file"), tmp_path)
    assert dialled == [("1.1.1.1", 443), ("8.8.8.8", 443)]
    answers.append("192.168.0.7")
    with pytest.raises(FetchError, match=r"192\.168\.0\.7"):
        fetch.fetch(source("https://files.example.org/file"), tmp_path)
    assert len(dialled) == 2


def test_no_variable_loosens_the_rules(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DL-07: proxies of the environment are not used, and plain http stays refused."""
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, server.url(""))
    assert "only https" in refused(server, tmp_path)
    assert web.Rules() == web.RULES
    assert server.asked == []


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for files.example.org that nobody has signed but itself."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the openssl program to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    subprocess.run(
        [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=files.example.org",
         "-addext", "subjectAltName=DNS:files.example.org", "-keyout", key, "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture
def secure(
    identity: Path, loose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """Serve https; every name leads to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    server = Server(context)
    loose(schemes=("https",))

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield server
    server.plug.close()


def test_https_with_a_trusted_certificate(
    secure: Server, identity: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    secure.scripts = [lambda ask: ask.serve(upto=70_000), Ask.serve]
    url = secure.url(host="files.example.org")
    assert fetch.fetch(source(url), tmp_path).read_bytes() == BODY
    assert [start for _, start in secure.asked] == [None, 70_000]


@pytest.mark.parametrize("trusted", [True, False])
def test_https_with_another_certificate_is_refused_at_once(
    secure: Server, identity: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusted: bool
) -> None:
    """DL-07: an unknown signer, and a known one with another name."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    host = "other.example.org" if trusted else "files.example.org"
    with pytest.raises(FetchError, match="certificate is not trusted"):
        fetch.fetch(source(secure.url(host=host)), tmp_path)
    assert secure.asked == []


def test_https_to_http_is_refused(
    secure: Server, identity: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DL-07: a redirect must not take the lock off."""
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    secure.scripts = [lambda ask: ask.send(301, "Location: http://files.example.org/file")]
    with pytest.raises(FetchError, match="only https"):
        fetch.fetch(source(secure.url(host="files.example.org")), tmp_path)


def test_https_drip_ends_at_the_deadline(
    secure: Server,
    loose: Callable[..., None],
    identity: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """DL-08: the timer hangs up below the TLS layer, while it is being read."""
    monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    loose(schemes=("https",), grace=0.5, slowest=1e9)

    def drips(ask: Ask) -> None:
        ask.send(200)
        for _ in range(200):
            ask.plug.sendall(b"0")
            time.sleep(0.05)

    secure.scripts = [drips]
    begin = time.monotonic()
    with pytest.raises(FetchError, match="not done within"):
        fetch.fetch(source(secure.url(host="files.example.org")), tmp_path)
    assert time.monotonic() - begin < 2.0
