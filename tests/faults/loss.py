"""Packet loss: gw and its endpoints in one network namespace, the client in another, between them a link that drops 3 % of the packets each way.

`python -m tests.faults.loss HOST PORT SECONDS` is the client, run inside its namespace.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.faults.load import Client
from tests.faults.rows import RATE, Bed, Row, row
from tests.wire.peers import PEERS, ROOT, Job

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
CLONE_NEWNET = 0x40000000
SHARE = 0.03
GATEWAY, CLIENT = "10.77.0.1", "10.77.0.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def tun_in(namespace: str, name: str) -> int:
    """A tun descriptor whose interface lives in `namespace`; the calling thread returns to where it was."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)
    return descriptor


class Link:
    """Carries packets between two tun devices and loses some. The loss begins when `share` is set."""

    def __init__(self, left: int, right: int) -> None:
        self.ends = {left: right, right: left}
        self.share = 0.0
        self.dropped = self.carried = 0
        self.stopping = False
        self.thread = threading.Thread(target=self.forward)
        self.thread.start()

    def forward(self) -> None:
        chance = random.Random(11)
        while not self.stopping:
            for ready in select.select(list(self.ends), [], [], 0.1)[0]:
                with suppress(BlockingIOError, OSError):
                    while packet := os.read(ready, 65536):
                        if chance.random() < self.share:
                            self.dropped += 1
                        else:
                            self.carried += 1
                            os.write(self.ends[ready], packet)

    def stop(self) -> None:
        self.stopping = True
        self.thread.join()
        for end in self.ends:
            os.close(end)


@contextmanager
def lossy_link() -> Iterator[tuple[Link, str, str]]:
    """The link and the names of its two namespaces. OSError or CalledProcessError where namespaces or tun are not to be had."""
    names = [f"gw-{side}-{os.getpid()}" for side in ("a", "b")]
    link = None
    try:
        ends = []
        for name, address in zip(names, (GATEWAY, CLIENT), strict=True):
            ip("netns", "add", name)
            ends.append(tun_in(name, "tun0"))
            for words in (("link", "set", "lo", "up"), ("addr", "add", f"{address}/24", "dev", "tun0"), ("link", "set", "tun0", "up")):
                ip("-n", name, *words)
        link = Link(*ends)
        yield link, names[0], names[1]
    finally:
        if link:
            link.stop()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@row("no failure")
async def packet_loss(bed: Bed) -> Row:
    seconds = 4 if bed.short else 10
    try:
        with lossy_link() as (link, here, there):
            return await lossy_load(bed, link, here, there, seconds)
    except (OSError, subprocess.CalledProcessError) as failure:
        return Row(f"skipped: no namespaces or tun device ({failure})", None)


async def lossy_load(bed: Bed, link: Link, here: str, there: str, seconds: int) -> Row:
    inside = ["ip", "netns", "exec", here]
    ports = [endpoint.port for endpoint in bed.endpoints]
    endpoints = [subprocess.Popen([*inside, sys.executable, "-m", "tests.faults.endpoint", str(port)], cwd=ROOT) for port in ports]
    peer = PEERS[bed.kind](Job(ports, workers=2, prefix=inside, bind="0.0.0.0"))
    try:
        peer.start(lambda: subprocess.run([*inside, "curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{peer.port}/x"], check=False).returncode == 0)
        link.share = SHARE
        command = ["ip", "netns", "exec", there, sys.executable, "-m", "tests.faults.loss", GATEWAY, str(peer.port), str(seconds)]
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        output, _ = await client.communicate()
        found = json.loads(output)
        return Row(f"{found['line']}, {link.dropped} of {link.dropped + link.carried} packets lost", not found["failed"] and not found["raced"])
    finally:
        peer.remove()
        for process in endpoints:
            process.kill()
            process.wait()


def main(host: str, port: str, seconds: str) -> None:
    start = time.monotonic()
    result = asyncio.run(Client(int(port), RATE, timeout=30, host=host).run(float(seconds)))
    print(json.dumps({"line": result.line(), "failed": len(result.failed), "raced": result.raced, "took": time.monotonic() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
