"""Programs that a nursery forks are like any others: in their namespace, with their names, and mortal."""

from __future__ import annotations

import os

from tests.lab.case import LabCase
from tests.lab.commands import LabError
from tests.lab.nursery import Nursery
from tests.lab.topology import Lab


class NurseryTests(LabCase):
    """One nursery, several programs."""

    def test_programs(self) -> None:
        """Two programs in two namespaces live apart, and die with their laboratory."""
        with Nursery() as nursery:
            lab = Lab("port", "none")
            self.addCleanup(lab.close)
            settings = lab.directory / "mediator.toml"
            settings.write_text('listen = ["127.0.0.1:3345"]\n')
            argv = ["twist", "--log-format", "text", "wavesync-mediator", "--config", str(settings)]
            started = [
                nursery.hatch(host.namespace, "mediator", argv, lab.directory / f"{host.name}.log")
                for host in (lab.a.host, lab.b.host)
            ]
            # The same port on both: it would be taken if both were in one namespace.
            for process, host in zip(started, (lab.a.host, lab.b.host), strict=True):
                process.wait_for_line("is ready on", timeout=30)
                self.assertTrue(host.namespace.contains(process.pid))
                names = f"/proc/{process.pid}/root/etc/hosts"
                self.assertTrue(os.path.exists(names))
            started[0].kill()
            self.assertFalse(started[0].running)
            self.assertTrue(started[1].running)
            lab.close()
            self.assertFalse(started[1].running)

    def test_failure(self) -> None:
        """A program that cannot do its work ends with its complaint in its log."""
        lab = self.lab("none", "none")
        with Nursery() as nursery:
            log = lab.directory / "knock.log"
            process = nursery.hatch(lab.a.host.namespace, "knock", ["knock", "/nowhere"], log)
            with self.assertRaises(LabError) as caught:
                process.wait_for_line("ready", timeout=30)
            self.assertIn("nowhere", str(caught.exception))
            process.kill()

    def test_over(self) -> None:
        """A nursery that has ended starts nothing."""
        lab = self.lab("none", "none")
        nursery = Nursery()
        nursery.close()
        with self.assertRaises((LabError, ValueError)):
            nursery.hatch(lab.a.host.namespace, "knock", ["knock"], lab.directory / "log")
