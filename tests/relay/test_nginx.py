"""A relay behind a real nginx, set up as ``etc/nginx.conf`` shows it."""

from unittest import skipIf

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol

from tests.relay.nginx import HOST, NGINX, Nginx
from tests.relay.test_fronts import FrontCase
from tests.relay.world import ParkedServer, Visit, connect_request, park_request, reactor, until
from tests.signalling.provers import client
from wavesync.relay.settings import Proxied
from wavesync.signalling.relay_answers import RelayAnswer

PLAIN, TLS, WEB = 3356, 443, 8080


class NginxTests(FrontCase):
    """Servers and clients that know nothing but nginx's ports."""

    def start(self) -> Nginx:
        """Start a relay and nginx."""
        self.service = self.relay(proxied=(Proxied(listen=f"{HOST}:0"),))
        relay, proxied = (port for _, port in self.service.addresses)
        nginx = Nginx(self.directory / "nginx", {3357: proxied, 3359: relay}, self.certificate)
        nginx.start()
        self.addCleanup(nginx.stop)
        return nginx

    @skipIf(NGINX is None, "nginx is not installed")
    def test_nginx(self) -> Deferred[None]:
        """All come through, as TCP, TLS and HTTP; by TCP the relay knows where from, and who has said all
        still hears the answer.
        """

        async def test() -> None:
            nginx = self.start()
            site = self.site()
            site.farewell = b"goodbye"
            for at in (PLAIN, TLS, WEB):
                port = nginx.ports[at]
                leg = ParkedServer(park_request(site.credentials), site)
                visit = Visit(connect_request(client(), site.credentials.target) + b"hello")
                for each in (leg, visit):
                    if at == TLS:
                        await self.connect_tls(each, port)
                    else:
                        await connectProtocol(HostnameEndpoint(reactor, HOST, port), each)
                    if each is leg:
                        await leg.answered
                self.assertEqual(await visit.answered, RelayAnswer(101))
                await until(lambda visit=visit: visit.data == b"hello")
                visit.wire.write(b"x" * 300_000)
                await until(lambda visit=visit: len(visit.data) == 300_005)
                assert leg.opened is not None
                here = visit.wire.getHost()
                known = leg.opened.source == (here.host, here.port)
                self.assertEqual(known, at != WEB)
                if at == PLAIN:
                    visit.wire.loseWriteConnection()
                    await visit.lost
                    self.assertTrue(visit.data.endswith(b"goodbye"))
                else:
                    visit.wire.abortConnection()
                    await visit.lost
                await leg.lost
            await until(lambda: len(self.service.connections) == 0)

        return Deferred.fromCoroutine(test())
