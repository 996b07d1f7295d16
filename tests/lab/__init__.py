"""A laboratory of NATs in network namespaces; ``python -m tests.lab --help``.

A test builds one, starts processes in its hosts, and reads what its routers passed::

    class Cell(LabCase):
        def test_direct(self) -> None:
            lab = self.lab("port", "linux", delay=0.02)
            server = lab.mediator.start([sys.executable, "server.py"])
            server.wait_for_port(3345, udp=True)
            before = lab.a.counts()
            lab.a.host.run(["curl", f"http://{lab.mediator.address}/"])
            passed = lab.a.counts() - before
            self.assertGreater(passed.with_mediator, 0)

`tests.lab.kinds` lists the kinds of site, `tests.lab.topology` tells who is where.
"""
