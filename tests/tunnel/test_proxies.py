"""Tests for :mod:`wavesync.tunnel.proxies`."""

import os
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.settings import parse_settings
from wavesync.tunnel.proxies import (
    MAX_PASSWORD,
    NONE,
    PASSWORD_VARIABLE,
    Proxies,
    Proxy,
    ProxySettings,
    bypassed,
    choose,
)
from wavesync.tunnel.urls import TunnelURL

TCP = TunnelURL("tcp", "mediator.example", 3345)
HTTP = TunnelURL("http", "mediator.example", 3355)
HTTPS = TunnelURL("https", "relay.example", 443)
SECRET = "correct-horse"


def chosen(url: TunnelURL, **environ: str) -> str:
    """Which proxy the environment names, in short."""
    proxy = choose(url, None, environ)
    return "" if proxy is None else proxy.authority


class EnvironmentTests(SynchronousTestCase):
    """Without settings, the proxy is the one that other programs of this user take."""

    def test_which_variable(self) -> None:
        """Plain HTTP has a variable of its own, TLS and plain TCP share one; all_proxy fills gaps."""
        for environ, expected in (
            ({}, ("", "", "")),
            ({"http_proxy": "http://a:1"}, ("", "a:1", "")),
            ({"HTTP_PROXY": "http://a:1"}, ("", "a:1", "")),
            ({"https_proxy": "http://b:2"}, ("b:2", "", "b:2")),
            ({"HTTPS_PROXY": "http://b:2"}, ("b:2", "", "b:2")),
            ({"https_proxy": "http://b:2", "HTTPS_PROXY": "http://c:3"}, ("b:2", "", "b:2")),
            ({"https_proxy": "", "HTTPS_PROXY": "http://c:3"}, ("c:3", "", "c:3")),
            ({"all_proxy": "http://d:4"}, ("d:4", "d:4", "d:4")),
            ({"ALL_PROXY": "d:4", "http_proxy": "http://a:1"}, ("d:4", "a:1", "d:4")),
            ({"ALL_PROXY": "socks5://d:4"}, ("", "", "")),
            ({"http_proxy": "corp"}, ("", "corp:3128", "")),
            ({"http_proxy": "http://[2001:db8::1]:8080/"}, ("", "[2001:db8::1]:8080", "")),
            ({"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, ("", "", "")),
            ({"http_proxy": "http://a:1", "REQUEST_METHOD": "GET"}, ("", "a:1", "")),
        ):
            found = tuple(chosen(url, **environ) for url in (TCP, HTTP, HTTPS))
            self.assertEqual(found, expected, environ)

    def test_login(self) -> None:
        """User and password may stand in the URL there, as other programs have it, and are decoded."""
        proxy = choose(HTTP, None, {"http_proxy": f"http://alice:{SECRET}%40%3a@corp:3128"})
        assert proxy is not None
        self.assertEqual((proxy.username, proxy.password), ("alice", f"{SECRET}@:"))
        self.assertEqual(
            dict(proxy.headers)["Proxy-Authorization"], "Basic YWxpY2U6Y29ycmVjdC1ob3JzZUA6"
        )
        self.assertEqual(Proxy("corp", 1).headers, ())

    def test_over_tls(self) -> None:
        """A proxy can be spoken to over TLS."""
        proxy = choose(HTTP, None, {"http_proxy": "https://corp:3129"})
        assert proxy is not None
        self.assertTrue(proxy.tls)
        self.assertEqual(str(proxy), "https://corp:3129")

    def test_excepted(self) -> None:
        """Hosts in no_proxy, and this one, are gone to directly."""
        proxy = {"http_proxy": "http://a:1"}
        for url, no_proxy, expected in (
            (HTTP, "", "a:1"),
            (HTTP, "other.example", "a:1"),
            (HTTP, "other.example, mediator.example", ""),
            (HTTP, "*", ""),
            (TunnelURL("http", "localhost", 80), "", ""),
            (TunnelURL("http", "127.0.0.9", 80), "", ""),
            (TunnelURL("http", "::1", 80), "", ""),
            (TunnelURL("http", "192.0.2.1", 80), "", "a:1"),
        ):
            self.assertEqual(chosen(url, **proxy, no_proxy=no_proxy), expected, (url, no_proxy))
            self.assertEqual(chosen(url, **proxy, NO_PROXY=no_proxy), expected, (url, no_proxy))

    def test_nonsense(self) -> None:
        """A variable that makes no sense is named, and not shown: a password may be in it."""
        for text in (
            f"http://alice:{SECRET}@corp:99999",
            f"http://alice:{SECRET}@corp:0",
            f"http://alice:{SECRET}@co rp:1",
            f"http://alice:{SECRET}@:1",
            f"http://alice:{SECRET}@corp:1/path",
            f"http://alice:{SECRET}%0d%0a@corp:1",
            f"http://al%3aice:{SECRET}@corp:1",
            f"http://alice:{SECRET}@[::1",
            f"http://alice:{'x' * MAX_PASSWORD}{SECRET}@corp:1",
        ):
            error = self.assertRaises(SettingsError, choose, HTTP, None, {"http_proxy": text})
            self.assertIn("http_proxy", str(error))
            self.assertNotIn(SECRET, str(error))
            self.assertNotIn(SECRET, repr(error))

    def test_no_proxy_as_others_have_it(self) -> None:
        """Names are excepted just as Python's own library does it."""
        for entry in ("example.com", ".example.com", "host.example.com", "example.com:80", "*"):
            for host in ("example.com", "host.example.com", "notexample.com", "example.org"):
                expected = bool(proxy_bypass_environment(f"{host}:80", {"no": entry}))
                self.assertEqual(bypassed(host, 80, [entry]), expected, (entry, host))

    def test_no_proxy_forms(self) -> None:
        """Addresses, networks and ports can be excepted, too."""
        for entry, host, port, expected in (
            ("192.0.2.1", "192.0.2.1", 80, True),
            ("192.0.2.1", "192.0.2.10", 80, False),
            ("192.0.2.0/24", "192.0.2.10", 80, True),
            ("192.0.2.0/24", "192.0.3.10", 80, False),
            ("192.0.2.0/24", "host.example", 80, False),
            ("192.0.2.0/99", "192.0.2.1", 80, False),
            ("2001:db8::/32", "2001:db8::5", 80, True),
            ("2001:db8::5", "2001:db8:0::5", 80, True),
            ("[2001:db8::5]", "2001:db8::5", 80, True),
            ("[2001:db8::5]:443", "2001:db8::5", 80, False),
            ("[2001:db8::5]:443", "2001:db8::5", 443, True),
            ("192.0.2.1:443", "192.0.2.1", 80, False),
            ("host.example:443", "host.example", 443, True),
            ("host.example:443", "host.example", 80, False),
            ("*.example", "host.example", 80, True),
            ("HOST.Example", "host.example.", 80, True),
            ("ample", "host.example", 80, False),
            ("", "host.example", 80, False),
            (".", "host.example", 80, False),
        ):
            self.assertEqual(bypassed(host, port, [entry]), expected, (entry, host, port))


class SettingsTests(SynchronousTestCase):
    """Settings come before the environment; the password is in a file of its own."""

    environ = {"http_proxy": "http://env:1", "https_proxy": "http://env:1", "no_proxy": "*"}

    def password_file(self, text: str, mode: int = 0o600) -> str:
        """Write one."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def test_first(self) -> None:
        """The proxy that is set leads to everything, whatever the environment says."""
        settings = ProxySettings(url="http://set:2", no_proxy=("relay.example",))
        proxies = Proxies(settings, self.environ)
        self.assertEqual([str(proxies(url)) for url in (TCP, HTTP)], ["http://set:2"] * 2)
        self.assertIsNone(proxies(HTTPS))
        this_host = proxies(TunnelURL("http", "127.0.0.1", 80))
        self.assertEqual(str(this_host), "http://set:2")

    def test_none(self) -> None:
        """ "none" goes directly although the environment names a proxy."""
        self.assertIsNone(choose(HTTP, ProxySettings(url=NONE), {"http_proxy": "http://env:1"}))

    def test_more_exceptions(self) -> None:
        """Exceptions in settings count for the environment's proxy, too."""
        settings = ProxySettings(no_proxy=("mediator.example",))
        environ = {"http_proxy": "http://env:1"}
        self.assertIsNone(choose(HTTP, settings, environ))
        self.assertIsNotNone(choose(TunnelURL("http", "other.example", 80), settings, environ))

    def test_password(self) -> None:
        """It is the first line of a file, or comes from the environment."""
        path = self.password_file(f"{SECRET}\nmore\n")
        for settings, environ in (
            (ProxySettings(url="set:2", username="alice", password_file=path), {}),
            (ProxySettings(url="http://alice@set:2", password_file=path), {}),
            (ProxySettings(url="set:2", username="alice"), {PASSWORD_VARIABLE: SECRET}),
        ):
            proxy = choose(HTTP, settings, environ)
            assert proxy is not None
            self.assertEqual((proxy.username, proxy.password), ("alice", SECRET))
        self.assertEqual(
            choose(HTTP, ProxySettings(url="set:2"), {PASSWORD_VARIABLE: "x"}), Proxy("set", 2)
        )

    def test_password_file_of_no_use(self) -> None:
        """A file that is not there, that others can read, or that is empty, is named."""
        for path, words in (
            ("nowhere", "No such file"),
            (self.password_file(SECRET, 0o640), "chmod 600"),
            (self.password_file(""), "no password"),
            (self.password_file("\x07bell"), "no password"),
            (self.password_file("x" * (MAX_PASSWORD + 1)), "no password"),
            (os.getcwd(), "Is a directory"),
        ):
            settings = ProxySettings(url="set:2", username="alice", password_file=path)
            error = self.assertRaises(SettingsError, choose, HTTP, settings, {})
            self.assertIn(words, str(error))
            self.assertIn(path, str(error))
            self.assertNotIn(SECRET, str(error))
        longest = self.password_file("x" * MAX_PASSWORD)
        settings = ProxySettings(url="set:2", username="alice", password_file=longest)
        self.assertIsNotNone(choose(HTTP, settings, {}))

    def test_refused(self) -> None:
        """Settings that make no sense are refused with a sentence that shows no password."""
        for text, words in (
            (f'url = "http://alice:{SECRET}@set:2"', "password"),
            ('url = "socks5://set:2"', "no HTTP proxy"),
            ('url = "http://"', "no proxy"),
            ('username = "alice"', "go with a url"),
            ('url = "none"\nusername = "alice"', "go with a url"),
            ('url = "set:2"\npassword_file = "x"', "goes with a username"),
            ('url = "set:2"\nusername = "al:ice"', "colon"),
        ):
            error = self.assertRaises(
                SettingsError, parse_settings, text, ProxySettings, name="agent.toml"
            )
            self.assertIn(words, str(error))
            self.assertNotIn(SECRET, str(error))
        twice = ProxySettings(url="http://alice@set:2", username="bob")
        self.assertRaises(SettingsError, choose, HTTP, twice, {})

    def test_secret(self) -> None:
        """The password is in no representation of anything."""
        path = self.password_file(SECRET)
        settings = ProxySettings(url="set:2", username="alice", password_file=path)
        proxies = Proxies(settings, {})
        proxy = proxies(HTTP)
        assert proxy is not None
        for each in (proxy, proxies, settings):
            self.assertNotIn(SECRET, f"{each!r} {each}")
        self.assertNotIn(SECRET, msgspec.json.encode(settings).decode())
