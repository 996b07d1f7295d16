"""Tests that the package installs as people install it: packages, plugins and the command."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

SOURCES = (
    "wavesync",
    "twisted",
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "README.rst",
    "LICENSE",
)

ASK_FOR_PLUGINS = """
from twisted.plugin import getPlugins
from twisted.application.service import IServiceMaker
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser)
print(*sorted(p.tapname for p in getPlugins(IServiceMaker) if p.tapname.startswith("wavesync")))
print(*sorted(p.prefix for p in getPlugins(IStreamClientEndpointStringParserWithReactor)
              if p.prefix in ("udt", "wavesync")))
print(*sorted(p.prefix for p in getPlugins(IStreamServerEndpointStringParser)
              if p.prefix in ("udt", "wavesync")))
import wavesync
print(wavesync.__file__)
"""


class InstallTests(SynchronousTestCase):
    """``pip install .`` and ``pip install -e .`` both give the whole product."""

    def install(self, *options: str) -> tuple[Path, Path]:
        """Install a copy of the sources into a fresh environment.

        The environment sees this one's libraries, but not this one's wavesync: ``.pth`` files of a
        folder named in a ``.pth`` file are not read.

        :returns: the environment's ``bin`` and the copied sources.
        """
        top = Path(self.mktemp()).resolve()
        source, environment = top / "source", top / "environment"
        source.mkdir(parents=True)
        for name in SOURCES:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / name)
        venv.create(environment, with_pip=False)
        binaries = environment / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = environment / "lib" / version / "site-packages"
        (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        command = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install"]
        command += ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", *options, "."]
        self.check_output(command, source)
        return binaries, source

    def check_output(self, command: list[str], directory: Path) -> str:
        """Run a command with a clean environment; fail with what it printed if it fails."""
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(
            command, cwd=directory, env=clean, capture_output=True, text=True, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def check_product(self, binaries: Path, where: Path) -> None:
        """See that plugins, endpoints and the command are there, and come from *where*."""
        empty = Path(self.mktemp()).resolve()
        empty.mkdir()
        python = str(binaries / "python")
        services, clients, servers, found = self.check_output(
            [python, "-c", ASK_FOR_PLUGINS], empty
        ).splitlines()
        self.assertEqual(
            services.split(), ["wavesync-agent", "wavesync-mediator", "wavesync-relay"]
        )
        self.assertEqual(clients.split(), ["udt", "wavesync"])
        self.assertEqual(servers.split(), ["udt", "wavesync"])
        self.assertTrue(Path(found).is_relative_to(where), found)
        self.assertIn(
            "wavesync-mediator", self.check_output([python, "-m", "twisted", "--help"], empty)
        )
        self.assertIn("demo", self.check_output([str(binaries / "wavesync"), "--help"], empty))

    def test_regular(self) -> None:
        """``pip install .`` brings packages, plugins and the command."""
        binaries, _ = self.install()
        self.check_product(binaries, binaries.parent)

    def test_editable(self) -> None:
        """``pip install -e .`` does not lose the plugins."""
        binaries, source = self.install("-e")
        self.check_product(binaries, source)
