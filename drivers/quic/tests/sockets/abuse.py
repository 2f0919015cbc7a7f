"""A client by aioquic that breaks the rules of QUIC after an honest handshake, once per connection.

    abuse.py PORT

The server is on 127.0.0.1, speaks the protocol `test`, and allows what is said below. For each abuse there is a
line of JSON on standard output: its name, and the code that the server closed the connection with, or null where
the connection is still there and answers.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.buffer import Buffer, encode_uint_var as var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnectionId
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicFrameType

# Seconds.
PATIENCE = 20
PATIENCE_IN_ALL = 200
# What the server says: streams of each kind, bytes of one, bytes of all.
BIDIRECTIONAL = 4
UNIDIRECTIONAL = 3
STREAM_WINDOW = 64 << 10
CONNECTION_WINDOW = 128 << 10
# What fits into a packet beside what aioquic itself has to say.
ROOM = 1100


def payload(offset, length):
    return bytes(at % 251 for at in range(offset, offset + length))


def stream(number, offset, length, fin=False):
    kind = 0x0E | fin
    return var(kind) + var(number) + var(offset) + var(length) + payload(offset, length)


def reset(number, size, code=7):
    return var(0x04) + var(number) + var(code) + var(size)


def stop(number, code=7):
    return var(0x05) + var(number) + var(code)


def crypto(offset, length):
    return var(0x06) + var(offset) + var(length) + bytes(length)


def connection_id(sequence, retire_prior_to=0, name=None):
    name = (sequence if name is None else name).to_bytes(8, "big")
    return var(0x18) + var(sequence) + var(retire_prior_to) + b"\x08" + name + name * 2


# Each is a list of frames, or of several in one string that must share a packet.
ABUSES = {
    "a stream beyond the limit": [stream(4 * BIDIRECTIONAL, 0, 10)],
    "a stream of one way beyond the limit": [stream(4 * UNIDIRECTIONAL + 2, 0, 10)],
    "the last stream that there is": [stream((1 << 62) - 4, 0, 10)],
    "a stop of a stream beyond the limit": [stop(4 * BIDIRECTIONAL)],
    "a reset of a stream beyond the limit": [reset(4 * BIDIRECTIONAL, 0)],
    "more credit for a stream beyond the limit": [var(0x11) + var(4 * BIDIRECTIONAL) + var(9)],
    "a byte beyond the window of a stream": [stream(0, STREAM_WINDOW, 1)],
    "the last byte that a stream can have": [stream(0, (1 << 62) - 2, 1)],
    "more than the window of the connection": [
        stream(number, STREAM_WINDOW - 1, 1) for number in (0, 4, 8)
    ],
    "a reset beyond the window of a stream": [reset(0, STREAM_WINDOW + 1)],
    "resets beyond the window of the connection": [
        reset(number, STREAM_WINDOW) for number in (0, 4, 8)
    ],
    "bytes beyond a FIN": [stream(0, 0, 10, fin=True) + stream(0, 10, 1)],
    "a FIN before what came": [stream(0, 0, 10) + stream(0, 0, 5, fin=True)],
    "another FIN": [stream(0, 20, 10, fin=True) + stream(0, 20, 12, fin=True)],
    "a reset before what came": [stream(0, 0, 10) + reset(0, 9)],
    "a reset beyond a FIN": [stream(0, 20, 10, fin=True) + reset(0, 31)],
    "bytes beyond a reset": [stream(0, 0, 10) + reset(0, 10) + stream(0, 10, 1)],
    "another reset": [reset(0, 10) + reset(0, 11)],
    "bytes of a stream that the server never opened": [stream(1, 0, 10)],
    "bytes of a stream that only the server sends": [stream(3, 0, 10)],
    "a reset of a stream that only the server sends": [reset(3, 0)],
    "a stop of a stream that the server never opened": [stop(1)],
    "a stop of a stream of one way that the server never opened": [stop(3)],
    "a stop of a stream that only the client sends": [stop(2)],
    "credit for a stream that only the client sends": [var(0x11) + var(2) + var(9)],
    "credit for a stream that the server never opened": [var(0x11) + var(1) + var(9)],
    "more streams than there can be": [var(0x12) + var((1 << 60) + 1)],
    "a frame that nobody knows": [var(0x3F) + bytes(10)],
    "a long frame that nobody knows": [var(0x3FFF_FFFF) + bytes(10)],
    "a frame that is cut": [var(0x0A) + var(0) + var(20) + b"cut"],
    "an acknowledgement of what was never sent": [var(0x02) + var(1 << 40) + var(0) * 3],
    "an acknowledgement of less than nothing": [var(0x02) + var(5) + var(0) + var(0) + var(9)],
    "a handshake that the client calls done": [var(0x1E)],
    "a token for the server": [var(0x07) + var(4) + b"oken"],
    "a datagram that nobody asked for": [var(0x31) + var(4) + b"gram"],
    "handshake bytes far ahead": [crypto(1 << 20, 10)],
    "handshake bytes in pieces": [crypto(1 + 2 * at, 1) for at in range(4000)],
    "more connection ids than the server takes": [connection_id(at) for at in range(1, 100)],
    "connection ids that retire what comes later": [connection_id(1, 9)],
    "the retirement of a connection id that is not there": [var(0x19) + var(1000)],
    "connection ids that retire all before them": [
        connection_id(at, at) for at in range(1, 20_000, 30)
    ],
    "a retirement of ids without end": [connection_id((1 << 62) - 1, (1 << 62) - 1)],
    "every other byte of streams": [
        stream(number, at, 1) for number in (0, 4) for at in range(1, STREAM_WINDOW, 2)
    ],
    "nothing of a stream, again and again": [stream(0, 0, 0)] * 10_000,
    "the same bytes, again and again": [stream(0, 1, 100)] * 2000,
    "bytes after a reset": [stream(0, 0, 10) + reset(0, 20)] + [stream(0, 10, 10)] * 1000,
    "resets, again and again": [reset(0, 10)] * 5000,
    "stops, again and again": [stream(0, 0, 10)] + [stop(0)] * 5000,
    "challenges": [var(0x1A) + at.to_bytes(8, "big") for at in range(10_000)],
    "answers that nobody asked for": [var(0x1B) + at.to_bytes(8, "big") for at in range(10_000)],
    "retirements, again and again": [var(0x19) + var(1)] * 50_000,
    "credit, again and again": [
        var(0x10) + var(at) + var(0x12) + var(at) + var(0x13) + var(at) for at in range(5000)
    ],
    "complaints": [var(0x14) + var(1) + var(0x15) + var(0) + var(1) + var(0x16) + var(1)] * 3000,
}


def read_connection_id(buffer):
    buffer.pull_uint_var()
    buffer.pull_uint_var()
    buffer.pull_bytes(buffer.pull_uint8())
    buffer.pull_bytes(16)


class Anything(bytes):
    """Any connection id."""

    def __eq__(self, other):
        return True

    __hash__ = bytes.__hash__


class Client(QuicConnectionProtocol):
    """Sends frames as they are given, and takes whatever is answered."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.closed = asyncio.get_running_loop().create_future()
        self._quic._write_datagram_frame = self.write
        # Answers to what aioquic does not know that it sent.
        handlers = self._quic._QuicConnection__frame_handlers
        for kind, read in {
            QuicFrameType.NEW_CONNECTION_ID: read_connection_id,
            QuicFrameType.RETIRE_CONNECTION_ID: Buffer.pull_uint_var,
            QuicFrameType.PATH_RESPONSE: lambda buffer: buffer.pull_bytes(8),
        }.items():
            _, epochs = handlers[kind]
            handlers[kind] = (lambda _, __, buffer, read=read: read(buffer), epochs)

    @staticmethod
    def write(builder, data, frame_type):
        # A PING before them, so that they count as what aioquic knows.
        buffer = builder.start_frame(QuicFrameType.PING, capacity=1 + len(data))
        buffer.push_bytes(data)

    def pretend(self):
        """Knows of the streams and ids that frames will name."""
        for number in (0, 4, 8, 2):
            self._quic._get_or_create_stream_for_send(number)
        anything = QuicConnectionId(cid=Anything(), sequence_number=1 << 62, was_sent=True)
        self._quic._host_cids.append(anything)

    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, ConnectionTerminated) and not self.closed.done():
            self.closed.set_result(event.error_code)

    def send(self, frames):
        packet = b""
        for frame in frames:
            if len(packet) + len(frame) > ROOM:
                self._quic.send_datagram_frame(packet)
                packet = b""
            packet += frame
        self._quic.send_datagram_frame(packet)
        self.transmit()

    async def is_closed(self):
        """The code that the server closed with, once all is sent; None where it did not."""
        while self._quic._datagrams_pending and not self.closed.done():
            await asyncio.wait([self.closed], timeout=0.01)
        # What is answered was sent after the rest.
        ping = asyncio.ensure_future(self.ping())
        done, _ = await asyncio.wait(
            [ping, self.closed], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError("neither closed nor answered")
        if self.closed.done():
            ping.cancel()
            return self.closed.result()
        return None


async def main():
    port = int(sys.argv[1])
    settings = QuicConfiguration(
        alpn_protocols=["test"], is_client=True, verify_mode=ssl.CERT_NONE
    )
    for name, frames in ABUSES.items():
        async with connect(
            "127.0.0.1", port, configuration=settings, create_protocol=Client
        ) as client:
            client.pretend()
            client.send(frames)
            code = await client.is_closed()
        print(json.dumps({"abuse": name, "code": code}), flush=True)


asyncio.run(asyncio.wait_for(main(), PATIENCE_IN_ALL))
