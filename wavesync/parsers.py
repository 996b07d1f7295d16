"""What Twisted's plugins load: endpoint parsers that import their module only when they are used.

Every ``clientFromString`` of any program asks all plugins for their prefixes; none of them shall
wait for wavesync to be imported.
"""

from importlib import import_module
from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

__all__ = ["LazyClientParser", "LazyServerParser"]


class _Lazy:
    """A parser that is made at its first use.

    :param prefix: what endpoint descriptions begin with.
    :param place: ``module:class`` of the parser.
    """

    def __init__(self, prefix: str, place: str) -> None:
        self.prefix = prefix
        self._place = place
        self._parser: Any = None

    def _made(self) -> Any:
        if self._parser is None:
            module, _, name = self._place.partition(":")
            self._parser = getattr(import_module(module), name)()
        return self._parser


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class LazyClientParser(_Lazy):
    """A client's parser."""

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """Make the endpoint (IStreamClientEndpointStringParserWithReactor)."""
        endpoint: IStreamClientEndpoint = self._made().parseStreamClient(reactor, *args, **kwargs)
        return endpoint


@implementer(IPlugin, IStreamServerEndpointStringParser)
class LazyServerParser(_Lazy):
    """A server's parser."""

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """Make the endpoint (IStreamServerEndpointStringParser)."""
        endpoint: IStreamServerEndpoint = self._made().parseStreamServer(reactor, *args, **kwargs)
        return endpoint
