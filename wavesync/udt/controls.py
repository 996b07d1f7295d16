"""The control packets of a connection that are due: answers, ACKs, NAKs, probes, keep-alives."""

from wavesync.interfaces import Burst
from wavesync.udt.feedback import Feedback
from wavesync.udt.outgoing import Outgoing
from wavesync.udt.packet import ControlType, encode_control
from wavesync.udt.path_size import PathSize
from wavesync.udt.receiver import Receiver

__all__ = ["Controls"]


class Controls:
    """See the module.

    :param peer_id: destination id of what leaves.
    :param feedback: knows which ACK is to be answered.
    :param receiver: has ACKs and NAKs.
    :param path: has probes of the path, and answers to the peer's.
    :ivar keep_alive: a keep-alive is to leave.
    """

    __slots__ = ("_feedback", "_path", "_peer_id", "_receiver", "keep_alive")

    def __init__(
        self, peer_id: int, feedback: Feedback, receiver: Receiver, path: PathSize
    ) -> None:
        """Begin with nothing due."""
        self._peer_id = peer_id
        self._feedback = feedback
        self._receiver = receiver
        self._path = path
        self.keep_alive = False

    @property
    def owed(self) -> bool:
        """Whether some are due without any time passing."""
        owes = self._feedback.owes_ack2 or self._path.owes
        return owes or self.keep_alive or self._receiver.backlogged

    def collect(self, now: float, rtt: float, out: Outgoing) -> None:
        """Append those that are due.

        :param now: seconds.
        :param rtt: round-trip time, seconds.
        """
        if (number := self._feedback.take_ack2()) is not None:
            self.put(ControlType.ACK2, out, number)
        self._receiver.control(now, out)
        self._path.control(now, rtt, out)
        if self.keep_alive:
            self.keep_alive = False
            self.put(ControlType.KEEP_ALIVE, out)

    def put(self, kind: ControlType, out: Outgoing, info: int = 0) -> None:
        """Append one.

        :param info: its information word.
        """
        packet = encode_control(kind, self._peer_id, info)
        out.append(Burst(packet, len(packet)))
