"""Tests for :mod:`wavesync.agent.settings`."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import wavesync
from wavesync.agent.settings import AgentSettings, parse_address
from wavesync.errors import SettingsError
from wavesync.settings import load_settings, parse_settings
from wavesync.signalling.relay_urls import parse_relay


class AgentSettingsTests(SynchronousTestCase):
    """Every mistake in a settings file is told before anything runs."""

    def refused(self, text: str) -> str:
        """The sentence for a file with that text."""
        error = self.assertRaises(
            SettingsError, parse_settings, text, AgentSettings, name="agent.toml"
        )
        return str(error)

    def test_defaults(self) -> None:
        """An empty file is a file."""
        self.assertEqual(parse_settings("", AgentSettings, name="agent.toml"), AgentSettings())

    def test_sample(self) -> None:
        """The sample is valid as it is, and shows every setting, with its default."""
        sample = Path(wavesync.__file__).parent.parent / "etc" / "agent.toml"
        self.assertEqual(load_settings(sample, AgentSettings), AgentSettings())
        text = sample.read_text(encoding="utf-8")
        shown = "\n".join(
            line.removeprefix("#")
            for line in text.splitlines()
            if not line.startswith("# ") and line != "#"
        )
        settings = parse_settings(shown, AgentSettings, name="sample")
        for name in AgentSettings.__struct_fields__:
            self.assertIn(f"{name}", text)
            if name not in ("credentials", "services"):
                self.assertEqual(getattr(settings, name), getattr(AgentSettings(), name), name)

    def test_proxy(self) -> None:
        """The proxy is a table of its own; a password in it is refused, and not shown."""
        text = '[proxy]\nurl = "http://proxy.example:3128"\nno_proxy = ["10.0.0.0/8"]'
        found = parse_settings(text, AgentSettings, name="agent.toml").proxy
        self.assertEqual(found.url, "http://proxy.example:3128")
        self.assertEqual(found.no_proxy, ("10.0.0.0/8",))
        for line, words in (
            ('url = "http://alice:correct-horse@proxy.example"', "holds a password"),
            ('username = "alice"', "go with a url"),
            ('password = "correct-horse"', "there is no setting 'proxy.password'"),
        ):
            sentence = self.refused(f"[proxy]\n{line}")
            self.assertIn(words, sentence)
            self.assertNotIn("correct-horse", sentence)

    def test_all_settings(self) -> None:
        """What is written is what is used."""
        settings = parse_settings(
            """
            credentials = "/etc/wavesync/server.pem"
            mediators = ["m.example", "tcp://n.example:443"]
            tcp_port = 7001
            udp_port = 65535
            udp = "plain"
            public_addresses = ["192.0.2.1:7001", "[2001:db8::1]:7001"]
            max_sessions = 1
            allow_loopback = true
            [services]
            web = "tcp:127.0.0.1:8080"
            "camera-1.rtsp_0" = "tcp:10.0.0.5:554"
            """,
            AgentSettings,
            name="agent.toml",
        )
        self.assertEqual(settings.credentials_path, Path("/etc/wavesync/server.pem"))
        self.assertEqual((settings.tcp_port, settings.udp), (7001, "plain"))
        self.assertEqual(list(settings.services), ["web", "camera-1.rtsp_0"])

    def test_mistakes(self) -> None:
        """Each one is a sentence that names what is wrong."""
        nine = ", ".join(f'"192.0.2.{number}:1"' for number in range(1, 10))
        for text, words in (
            ("tcp_prot = 1", "tcp_prot"),
            ("tcp_port = 65536", "tcp_port must be 0 to 65535"),
            ("udp_port = -1", "udp_port must be 0 to 65535"),
            ('tcp_port = "80"', "tcp_port"),
            ('udp = "fast"', 'udp must be "auto", "gso" or "plain"'),
            ("max_sessions = 0", "max_sessions must be 1 or more"),
            (f"public_addresses = [{nine}]", "at most 8"),
            ('public_addresses = ["example.org:1"]', "is no address"),
            ('relays = "some"', 'relays must be "auto", "none" or a list of URLs'),
            ("relays = []", 'relays names none: write "auto" or "none"'),
            ('relays = ["udp://relay.example"]', "the scheme must be http or https"),
            ('relays = ["a.example", "b.example", "c.example", "d.example", "e.example"]', "4"),
            ('mediators = ["ftp://m.example"]', "the scheme must be udp, tcp, http or https"),
            ('mediators = ["m.example:99999"]', "port"),
            ('[services]\nWeb = "tcp:a:1"', "'Web' is no name"),
            (f'[services]\n{"a" * 65} = "tcp:a:1"', "is no name"),
            ('[services]\nweb = ""', "web needs an endpoint"),
            ("[services]\nweb = 1", "services"),
            ("[services", "is not TOML"),
        ):
            self.assertIn(words, self.refused(text), text)

    def test_relays(self) -> None:
        """Relays are found out, or chosen, or not used at all."""
        for text, chosen in (
            ("", None),
            ('relays = "auto"', None),
            ('relays = "none"', ()),
            ('relays = ["https://relay.example"]', (parse_relay("https://relay.example"),)),
        ):
            settings = parse_settings(text, AgentSettings, name="x")
            self.assertEqual(settings.chosen_relays, chosen)

    def test_eight_public_addresses(self) -> None:
        """As many public addresses as may be told are taken."""
        eight = ", ".join(f'"192.0.2.{number}:1"' for number in range(1, 9))
        settings = parse_settings(f"public_addresses = [{eight}]", AgentSettings, name="x")
        self.assertEqual(len(settings.public_addresses), 8)

    def test_longest_service_name(self) -> None:
        """Sixty-four letters are a name."""
        settings = parse_settings(f'[services]\n{"a" * 64} = "tcp:a:1"', AgentSettings, name="x")
        self.assertEqual(len(settings.services), 1)

    def test_credentials_in_the_environment(self) -> None:
        """systemd hands credentials over in a directory that a variable names."""
        before = os.environ.get("CREDENTIALS_DIRECTORY")
        os.environ["CREDENTIALS_DIRECTORY"] = "/run/credentials/x"
        try:
            settings = AgentSettings(credentials="$CREDENTIALS_DIRECTORY/server.pem")
            self.assertEqual(settings.credentials_path, Path("/run/credentials/x/server.pem"))
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]
            if before is not None:
                os.environ["CREDENTIALS_DIRECTORY"] = before

    def test_revocation_lists(self) -> None:
        """Lists are handed in where one says, and kept where systemd says or the credentials are."""
        before = os.environ.pop("STATE_DIRECTORY", None)
        try:
            settings = AgentSettings(credentials="/etc/x/server.pem", crl="~/new.pem")
            self.assertEqual(settings.crl_path, Path.home() / "new.pem")
            self.assertEqual(settings.state_directory, Path("/etc/x"))
            os.environ["STATE_DIRECTORY"] = "/var/lib/x:/var/lib/y"
            self.assertEqual(settings.state_directory, Path("/var/lib/x"))
            settings = AgentSettings(state="/srv/x")
            self.assertEqual((settings.crl_path, settings.state_directory), (None, Path("/srv/x")))
        finally:
            os.environ.pop("STATE_DIRECTORY", None)
            if before is not None:
                os.environ["STATE_DIRECTORY"] = before

    def test_default_credentials(self) -> None:
        """Without a word the file is where ``wavesync system add-server`` users keep it."""
        self.assertEqual(AgentSettings().credentials_path.name, "server.pem")
        self.assertEqual(AgentSettings().credentials_path.parent.name, "wavesync")


class ParseAddressTests(SynchronousTestCase):
    """A public address is a numeric address with a port."""

    def test_good(self) -> None:
        """Both families, in one form."""
        self.assertEqual(parse_address("192.0.2.1:80"), ("192.0.2.1", 80))
        self.assertEqual(parse_address("[2001:DB8::1]:65535"), ("2001:db8::1", 65535))

    def test_bad(self) -> None:
        """Everything else is refused with a sentence."""
        for text in (
            "", ":", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x",
            "192.0.2.1:\N{ARABIC-INDIC DIGIT ONE}", "host:80", "[::1:80", "1.2.3:4", "192.0.2.1:-1", "192.0.2.1:+1",
        ):  # fmt: skip
            error = self.assertRaises(SettingsError, parse_address, text)
            self.assertIn("IP:PORT", str(error))
