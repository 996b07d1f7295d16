"""docs/mediator.rst says what the code does: numbers and examples."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wavesync.mediator.leg import PROOF_BURST, PROOF_RATE
from wavesync.mediator.settings import Limits
from wavesync.signalling.messages import ConnectionAck, ConnectionUpdate, Refusal
from wavesync.signalling.numbers import Attribute, ErrorCode, Method, ResultCode

TEXT = (Path(__file__).parents[2] / "docs" / "mediator.rst").read_text(encoding="utf-8")
TRANSACTION = bytes(range(12))
CONNECTION = "00112233445566778899aabbccddeeff"


def table(heading: str) -> dict[str, str]:
    """Return first and second column of the table under *heading*."""
    section = TEXT.split(f"\n{heading}\n~", 1)[1]
    section = re.split(r"\n[^\n]+\n[~-]{4,}\n", section, maxsplit=1)[0]
    rows = re.findall(r"^(0x[0-9A-F]+|\d{3}) +([^ ].*?)  ", section, re.MULTILINE)
    return dict(rows)


class DocumentTests(SynchronousTestCase):
    """Somebody who writes a peer from the text gets one that works."""

    def test_methods(self) -> None:
        """Every method has its number in the text, and no other is there."""
        expected = {f"0x{each:03X}": each.name.replace("_", "-") for each in Method}
        self.assertEqual(table("Methods"), {"0x001": "Binding", **expected})

    def test_attributes(self) -> None:
        """Every attribute has its number in the text, and no other is there."""
        expected = {f"0x{each:04X}": each.name.replace("_", "-") for each in Attribute}
        found = table("Attributes")
        self.assertEqual(found, expected)

    def test_errors(self) -> None:
        """Every error code is in the text, and no other."""
        self.assertEqual(set(table("Errors")), {str(int(each)) for each in ErrorCode})

    def test_results(self) -> None:
        """Every result code is in the text."""
        listed = TEXT.split("RESULT-CODE: ", 1)[1].split(".", 1)[0]
        self.assertEqual(
            [int(number) for number in re.findall(r"\d+", listed)], [int(c) for c in ResultCode]
        )

    def test_limits(self) -> None:
        """The limits in the text are the defaults of the settings."""
        limits = Limits()
        section = TEXT.split("\nLimits\n------", 1)[1]
        for expected in (
            f"registered servers                  {limits.registrations:,} ",
            f"registered servers of a system      {limits.registrations_per_system:,} ",
            f"introductions (for 90 s)            {limits.introductions:,} ",
            f"proofs remembered (for 65 s)        {limits.replays:,} ",
            f"bytes of all revocation lists       {limits.crl_bytes:,} ",
            f"TCP connections                     {limits.legs:,} ",
            f"TCP connections from a source       {limits.legs_per_host} ",
            f"{limits.source_rate:.0f}/s, {limits.source_burst:.0f}",
            f"{limits.stream_proof_rate:.0f}/s, {limits.stream_proof_burst:.0f}",
            f"{PROOF_RATE:.0f}/s, {PROOF_BURST:.0f}",
            f"{limits.client_rate:.0f}/s, {limits.client_burst:.0f}",
            f"{limits.target_rate:.0f}/s, {limits.target_burst:.0f}",
        ):
            self.assertIn(expected, section)

    def test_examples(self) -> None:
        """The examples are what the code sends."""
        examples = TEXT.split("\nExamples\n--------", 1)[1]
        blocks = [
            "".join(block.split()) for block in re.findall(r"::\n\n((?:    .*\n)+)", examples)
        ]
        update = ConnectionUpdate(CONNECTION, 3, (("192.0.2.7", 4000), ("2001:db8::7", 4001)))
        refusal = Refusal(438, "", bytes(range(24)), "mediator.example", 1_795_000_000.0)
        self.assertEqual(
            blocks,
            [
                ConnectionAck(CONNECTION, 9).encode(TRANSACTION, bytes(range(32))).hex(),
                update.encode(TRANSACTION).hex(),
                refusal.encode(Method.CONNECT, TRANSACTION).hex(),
            ],
        )
