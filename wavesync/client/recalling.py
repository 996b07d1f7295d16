"""A hole that was given up, tried once more because no mediator answers.

An interruption of some seconds is enough for a hole to be given up: then the next introduction makes
another.  Where there is no mediator to make it, the old one is worth a try, as its mappings live on.
"""

from wavesync.client.attempt import place
from wavesync.client.introduction import NoMediator
from wavesync.client.race import Race, Winner
from wavesync.client.report import Timeline
from wavesync.client.way import KnownWay
from wavesync.errors import WavesyncError
from wavesync.session.client import ClientSession

__all__ = ["try_again"]


async def try_again(
    way: KnownWay | None, timeline: Timeline, error: NoMediator
) -> Winner[ClientSession]:
    """Connect over a way that was given up.

    :param way: what is remembered of it, if anything is.
    :param error: why there is no introduction.
    :raises NoMediator: *error*, when that does not work either.
    """
    if way is None:
        raise error
    race: Race[ClientSession] = Race(timeline, place)
    race.enter([way.path()])
    race.no_more()
    try:
        winner = await race.result
    except WavesyncError:
        raise error from None
    timeline.server, timeline.reused = way.server, True
    return winner
