"""A mail server in a process of its own: `python -m tests.benchmarks.peers.mail_server DELAY`.

Prints its port, takes every mail, and acknowledges it DELAY seconds later. Speaks as much SMTP as a sender needs, and
costs next to nothing: what it spends would be counted as the sender's.
"""

import asyncio
import sys

LIMIT = 16 * 1024 * 1024


async def main(delay: float) -> None:
    """Serve until killed."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 ready\r\n")
            while line := await reader.readline():
                match line[:4].upper():
                    case b"DATA":
                        writer.write(b"354 go on\r\n")
                        await reader.readuntil(b"\r\n.\r\n")
                        await asyncio.sleep(delay)
                        writer.write(b"250 taken\r\n")
                    case b"QUIT":
                        writer.write(b"221 bye\r\n")
                        return
                    case _:
                        writer.write(b"250 yes\r\n")
        except (OSError, EOFError):
            pass  # Whoever sends hung up.
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
