"""The agenda of very many things: nothing is missed, and it does not grow with what is over."""

import random

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agenda import Agenda, Entry


class Thing:
    """Something that is looked at."""

    def __init__(self) -> None:
        self.planned: Entry[Thing] | None = None


class AgendaTests(SynchronousTestCase):
    """When things are looked at."""

    def test_order(self) -> None:
        """Each is given once its time has come, the earliest first, and then no more."""
        agenda: Agenda[Thing] = Agenda()
        self.assertIsNone(agenda.deadline())
        late, early = Thing(), Thing()
        agenda.plan(late, 2.0)
        agenda.plan(early, 1.0)
        self.assertEqual(agenda.deadline(), 1.0)
        self.assertEqual(agenda.take_due(0.9), [])
        self.assertEqual(agenda.take_due(1.0), [early])
        self.assertEqual(agenda.take_due(5.0), [late])
        self.assertEqual(agenda.take_due(5.0), [])
        self.assertIsNone(agenda.deadline())

    def test_moved(self) -> None:
        """A thing that is wanted earlier comes earlier, one that is wanted later comes in vain."""
        agenda: Agenda[Thing] = Agenda()
        thing = Thing()
        agenda.plan(thing, 5.0)
        agenda.plan(thing, 3.0)
        agenda.plan(thing, 9.0)
        self.assertEqual(agenda.take_due(3.0), [thing])
        self.assertEqual(agenda.take_due(9.0), [])
        agenda.plan(thing, 9.5)
        self.assertEqual(agenda.take_due(9.5), [thing])

    def test_ended(self) -> None:
        """A thing that is over is not given, unless it begins anew."""
        agenda: Agenda[Thing] = Agenda()
        thing = Thing()
        agenda.plan(thing, 1.0)
        agenda.end(thing)
        agenda.end(thing)
        self.assertEqual(agenda.take_due(1.0), [])
        agenda.plan(thing, 2.0)
        self.assertEqual(agenda.take_due(2.0), [thing])

    def test_bounded(self) -> None:
        """However often things come, go and move, entries that are out of date stay few."""
        agenda: Agenda[Thing] = Agenda()
        for number in range(10_000):
            thing = Thing()
            agenda.plan(thing, 30.0 + number)
            agenda.plan(thing, 5.0 + number)
            agenda.end(thing)
            self.assertLessEqual(len(agenda), 70)

    def test_random(self) -> None:
        """Whatever happens, each is given by the time it was wanted, and none too many times."""
        chance, agenda = random.Random(6), Agenda[Thing]()
        wanted: dict[Thing, float] = {}
        things = [Thing() for _ in range(50)]
        now = 0.0
        for _ in range(20_000):
            now += chance.random() * 0.01
            thing = chance.choice(things)
            if chance.random() < 0.1:
                agenda.end(thing)
                wanted.pop(thing, None)
            elif thing.planned is None or chance.random() < 0.5:
                wanted[thing] = now + chance.random()
                agenda.plan(thing, wanted[thing])
            for due in agenda.take_due(now):
                at = wanted[due]
                if at > now:
                    agenda.plan(due, at)
                else:
                    del wanted[due]
            self.assertFalse([at for at in wanted.values() if at <= now])
        self.assertEqual({thing for thing in things if thing.planned is not None}, set(wanted))
