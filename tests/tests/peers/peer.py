"""Tagged streams (ALPN gapless/1) by aioquic: a client and a server for the tests of `gapless stream`.

    peer.py send PORT TAG FILE [uni]    sends FILE as one stream, prints how it was answered
    peer.py serve PORT CERT KEY COUNT   takes COUNT streams, answers each with its SHA-256

Everything is on 127.0.0.1. Each stream makes one line of JSON on standard output.
"""

import asyncio
import hashlib
import json
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StopSendingReceived, StreamReset

HOST = "127.0.0.1"
PATIENCE = 100
BLOCK = 1 << 16


def configuration(is_client):
    return QuicConfiguration(
        alpn_protocols=["gapless/1"],
        is_client=is_client,
        # Who is who is not what is tested here.
        verify_mode=ssl.CERT_NONE if is_client else None,
        max_data=8 << 20,
        max_stream_data=4 << 20,
    )


class Client(QuicConnectionProtocol):
    """aioquic's streams do not tell that they were refused."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.codes = {}
        self.refused = asyncio.Event()

    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, (StreamReset, StopSendingReceived)):
            self.codes[type(event).__name__] = event.error_code
            if isinstance(event, StreamReset):
                self.refused.set()


async def send(port, tag, file, is_unidirectional):
    with open(file, "rb") as source:
        payload = source.read()
    async with connect(
        HOST, port, configuration=configuration(True), create_protocol=Client
    ) as client:
        reader, writer = await client.create_stream(is_unidirectional)
        tag = tag.encode()
        writer.write(bytes([len(tag)]) + tag)
        writer.write(payload)
        writer.write_eof()
        answer = b""
        if is_unidirectional:
            # Nobody answers: whoever took the only stream closes the connection.
            await client.wait_closed()
        else:
            read = asyncio.ensure_future(reader.read())
            refused = asyncio.ensure_future(client.refused.wait())
            await asyncio.wait([read, refused], return_when=asyncio.FIRST_COMPLETED)
            refused.cancel()
            if read.done():
                answer = read.result()
            else:
                read.cancel()
        told = {"answer": answer.decode("latin-1").strip(), "codes": client.codes}
        print(json.dumps(told), flush=True)


async def serve_streams(port, cert, key, count):
    left = count
    is_over = asyncio.Event()

    async def take(reader, writer):
        nonlocal left
        length = (await reader.readexactly(1))[0]
        tag = await reader.readexactly(length)
        digest, size = hashlib.sha256(), 0
        while block := await reader.read(BLOCK):
            digest.update(block)
            size += len(block)
        told = {"tag": tag.decode("latin-1"), "bytes": size, "sha256": digest.hexdigest()}
        print(json.dumps(told), flush=True)
        if writer.get_extra_info("stream_id") & 2 == 0:
            writer.write(digest.hexdigest().encode())
            writer.write_eof()
        left -= 1
        if left == 0:
            is_over.set()

    tasks = set()

    def begin(reader, writer):
        task = asyncio.ensure_future(take(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    settings = configuration(False)
    settings.load_cert_chain(cert, key)
    server = await serve(HOST, port, configuration=settings, stream_handler=begin)
    await is_over.wait()
    # The last answer is on its way.
    await asyncio.sleep(1)
    server.close()


def main():
    command, port, *arguments = sys.argv[1:]
    if command == "send":
        tag, file, *way = arguments
        work = send(int(port), tag, file, way == ["uni"])
    else:
        cert, key, count = arguments
        work = serve_streams(int(port), cert, key, int(count))
    asyncio.run(asyncio.wait_for(work, PATIENCE))


main()
