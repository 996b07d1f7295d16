"""wavesync's services as processes of their own, on loopback."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.relay.redis_server import HOST, free_port
from tests.relay.world import until
from wavesync.signalling.relay_urls import Relay

__all__ = ["RelayProcess", "TwistProcess"]

_ROOT = Path(__file__).parents[2]


class TwistProcess:
    """One ``twist`` command with a settings file.

    :param plugin: ``wavesync-relay`` for instance.
    :param directory: where its settings and its log go.
    """

    def __init__(self, plugin: str, directory: Path, settings: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory.absolute() / "log"
        path = directory.absolute() / "settings.toml"
        path.write_text(settings)
        twist = [sys.executable, "-m", "twisted", "--log-format", "text"]
        self._command: Sequence[str] = [*twist, plugin, "--config", str(path)]
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0

    def start(self) -> None:
        """Start it."""
        self._read_from = len(self.log)
        with self._log.open("ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    @property
    def pid(self) -> int:
        """The process's id, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged, in all its lives."""
        return self._log.read_text() if self._log.exists() else ""

    def logged(self, words: str) -> bool:
        """Tell whether it has logged this, since it was started last."""
        return words in self.log[self._read_from :]

    async def says(self, words: str) -> None:
        """Wait until it has logged this."""
        await until(lambda: self.logged(words), 60.0)

    def kill(self) -> None:
        """End it at once, as a power failure does; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class RelayProcess(TwistProcess):
    """A relay.

    :param settings: lines besides its name and address.
    :ivar relay: its URL.
    :ivar health: the URL of the page that says whether it is well.
    """

    def __init__(self, directory: Path, *settings: str) -> None:
        self.relay = Relay(HOST, free_port(), False)
        address = self.relay.authority
        lines = [f'name = "{HOST}"', f'url = "{self.relay}"', f'listen = ["{address}"]', *settings]
        pages = f"{HOST}:{free_port()}"
        self.health = f"http://{pages}/health"
        lines += ["[metrics]", f'listen = "{pages}"', ""]
        super().__init__("wavesync-relay", directory, "\n".join(lines))

    async def ready(self) -> None:
        """Wait until it listens."""
        await self.says("is ready on")
