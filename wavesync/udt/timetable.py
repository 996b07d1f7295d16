"""The deadlines of all members of a port, so that one timer serves them."""

import heapq

from wavesync.udt.link import Member

__all__ = ["Timetable"]


class Timetable:
    """A heap of deadlines; changing one costs a push, old entries are skipped when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Member]] = []
        self._order = 0

    def schedule(self, member: Member, deadline: float | None) -> None:
        """Set the deadline of *member*, ``None`` for none."""
        if deadline == member.scheduled:
            return
        member.scheduled = deadline
        if deadline is not None:
            self._order += 1
            heapq.heappush(self._heap, (deadline, self._order, member))

    def due(self, now: float) -> list[Member]:
        """:return: the members whose deadline has come; they have none now."""
        members = []
        while self._heap and self._heap[0][0] <= now:
            deadline, _order, member = heapq.heappop(self._heap)
            if member.scheduled == deadline:
                member.scheduled = None
                members.append(member)
        return members

    def next(self) -> float | None:
        """:return: the earliest deadline."""
        while self._heap:
            deadline, _order, member = self._heap[0]
            if member.scheduled == deadline:
                return deadline
            heapq.heappop(self._heap)
        return None

    def __len__(self) -> int:
        """:return: entries kept, passed-over ones too."""
        return len(self._heap)
