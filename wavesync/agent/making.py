"""An agent as a settings file describes it, with its two pages for operators beside it."""

import time

from twisted.application.service import IService
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from wavesync.agent.metrics import AgentMetrics
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.doctor.flights import Flights, flights_path
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations, list_path
from wavesync.interfaces import IReactor
from wavesync.metrics.service import Measured
from wavesync.settings import load_settings
from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.lifetimes import Lifetimes, lifetimes_path
from wavesync.signalling.urls import parse_mediators
from wavesync.tunnel.proxies import Proxies

__all__ = ["make_agent"]


def make_agent(path: str | None, reactor: IReactor) -> IService:
    """Make the agent that the settings in a file ask for.

    :param path: the file; there is no agent without one.
    :raises WavesyncError: it is not good, or the credentials that it names are not.
    """
    if path is None:
        raise SettingsError("name the settings file: --config FILE (etc/agent.toml is a sample)")
    settings = load_settings(path, AgentSettings)
    credentials = Credentials.load(settings.credentials_path, now=time.time())
    if not settings.services:
        raise SettingsError(
            f"{path}: [services] names nothing that clients may open; write there for instance"
            ' web = "tcp:127.0.0.1:8080"'
        )
    services: dict[str, IStreamClientEndpoint | IProtocolFactory] = {}
    for name, endpoint in settings.services.items():
        try:
            services[name] = clientFromString(reactor, endpoint)
        except Exception as error:  # parsers are plugins, and may read files
            raise SettingsError(
                f"{path}: services.{name}: {endpoint!r} is no endpoint such as"
                f" tcp:127.0.0.1:80 ({error})"
            ) from None
    agent = AgentService(
        reactor,
        credentials,
        services,
        parse_mediators(settings.mediators or credentials.mediators),
        settings=settings,
        revocations=Revocations(
            credentials.system_key_bytes,
            state=list_path(settings.state_directory, credentials.system),
            handed_in=settings.crl_path,
        ),
        lifetimes=Lifetimes(lifetimes_path(settings.state_directory), wall_clock=time.time),
        destinations=open_destinations(
            reactor, Proxies(settings.proxy), directory=settings.state_directory
        ),
        flights=Flights(reactor, wall_clock=time.time, path=flights_path(settings.state_directory)),
    )
    return Measured(agent, AgentMetrics(agent), reactor, settings.metrics)
