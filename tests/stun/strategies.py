"""Hypothesis strategies for STUN: messages that can be encoded, addresses."""

import ipaddress

from hypothesis import strategies as st

from wavesync.stun.attributes import FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256
from wavesync.stun.message import Message, MessageClass

ports = st.integers(0, 0xFFFF)

ipv4_addresses = st.tuples(st.ip_addresses(v=4).map(str), ports)

ipv6_addresses = st.tuples(
    st.ip_addresses(v=6)
    .filter(lambda host: isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is None)
    .map(str),
    ports,
)

transaction_ids = st.binary(min_size=12, max_size=12)

attribute_types = st.one_of(st.integers(0, 0x40), st.integers(0, 0xFFFF)).filter(
    lambda number: number not in (MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, FINGERPRINT)
)

attributes = st.lists(st.tuples(attribute_types, st.binary(max_size=40)), max_size=8).map(tuple)

messages = st.builds(
    Message,
    method=st.integers(0, 0xFFF),
    message_class=st.sampled_from(MessageClass),
    transaction_id=transaction_ids,
    attributes=attributes,
)
