"""`python -m tests.wycheproof PATH`: the figures over a checkout of Wycheproof, and each vector that went the other way. Exit code 1: one was wrongly accepted."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.wycheproof.vectors import run


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.wycheproof PATH-OF-A-CHECKOUT", file=sys.stderr)
        return 2
    outcomes = list(run(Path(sys.argv[1])))
    accepted = [each for each in outcomes if each.wrongly_accepted]
    contradicted = [each for each in outcomes if each.contradicted]
    refused = [each for each in outcomes if each.valid and each.verdict != "ok"]
    for each in [*accepted, *contradicted, *refused]:
        label = "called valid" if each.valid else "called invalid and, in another vector, valid" if each.contradicted else "called invalid"
        print(f"{each.number} {each.comment}: {label}; verdict: {each.verdict}")
    print(f"{len(outcomes)} vectors: {len(accepted)} wrongly accepted, {len(refused)} called valid and refused, {len(contradicted)} with two labels")
    return int(bool(accepted))


if __name__ == "__main__":
    sys.exit(main())
