"""python -m tests.abuse [names] [--seconds 10] [--peer gw|nginx|haproxy]: attack and print a table.

Marks: 0 failed clean requests, p99 < 250 ms, memory < +64 MB, slow ones shed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table

from tests.abuse.attacks import ATTACKS
from tests.abuse.measure import measure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ATTACKS], help="which attacks; all when none is named")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--peer", default="gw")
    options = parser.parse_args()
    table = Table(title=f"abuse, a clean client at 50 requests/s beside it: {options.peer}", title_justify="left")
    for column in ("attack", "measured", ""):
        table.add_column(column)
    failed = False
    for name in options.names or ATTACKS:
        finding = asyncio.run(measure(name, options.peer, options.seconds))
        failed = failed or bool(finding.problems)
        table.add_row(name, finding.figure, ", ".join(finding.problems) or "pass")
    Console(width=200).print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
