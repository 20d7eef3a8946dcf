"""python -m tests.faults [names] [--peer gw|nginx|haproxy] [--short]: measure the faults and print them as a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback

from rich.console import Console
from rich.table import Table

from tests.faults import loss  # noqa: F401  its row registers itself
from tests.faults.rows import ROWS, Bed, Row


def measure(name: str, bed: Bed) -> Row:
    function, _ = ROWS[name]
    try:
        return asyncio.run(function(bed))
    except (OSError, RuntimeError, EOFError, TimeoutError) as failure:
        traceback.print_exc()
        return Row(f"{type(failure).__name__}: {failure}"[:200], False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ROWS], help="which faults; all when none is named")
    parser.add_argument("--peer", default="gw")
    parser.add_argument("--short", action="store_true", help="the settings of the test run")
    options = parser.parse_args()
    table = Table(title=f"faults, 200 requests/s, two endpoints, two workers: {options.peer}", title_justify="left")
    for column in ("fault", "measured", "mark", ""):
        table.add_column(column)
    failed = False
    for name in options.names or ROWS:
        found = measure(name, Bed(options.peer, options.short))
        failed = failed or found.passed is False
        table.add_row(name, found.figure, ROWS[name][1], {True: "pass", False: "FAIL", None: "-"}[found.passed])
    Console(width=200).print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
