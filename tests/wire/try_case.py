"""python -m tests.wire.try_case PEER PATTERN: run the request cases whose name holds PATTERN and print what both ends saw."""

from __future__ import annotations

import asyncio
import sys

from tests.wire.cases import CASES
from tests.wire.origin import Origin
from tests.wire.peers import PEERS, Job
from tests.wire.run import MODES, judge, observe


async def main(name: str, pattern: str) -> None:
    async with Origin() as origin:
        peer = await asyncio.to_thread(PEERS[name](Job([origin.port])).start)
        try:
            for key, case in CASES.items():
                if pattern in key:
                    for mode in MODES:
                        outcome = await observe(case, peer, origin, mode)
                        print(f"{key} [{mode}]: {judge(case, outcome)}\n  {outcome.summary()}\n  sent {case.send[:200]!r}\n  origin {[request.raw[:600] for request in outcome.seen]}")
        finally:
            peer.remove()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
