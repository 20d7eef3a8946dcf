"""Every figure of benchmarks/README.md anew: `python -m benchmarks` (`make bench`), about half an hour on an idle machine."""

from __future__ import annotations

import argparse
import subprocess
import sys

STEPS = [["benchmarks.wire", "--publish"], ["benchmarks.floor", "--publish"], ["benchmarks.syscalls", "--publish"], ["benchmarks.instructions", "--publish"]]


def main() -> int:
    """Runs every step, whatever the one before said; exit code 1 when a mark was missed."""
    argparse.ArgumentParser(prog="python -m benchmarks", description=f"{__doc__} It takes no options; its steps do: {', '.join(step[0] for step in STEPS)}.").parse_args()
    return max(subprocess.run([sys.executable, "-m", *step], check=False).returncode for step in STEPS)


if __name__ == "__main__":
    sys.exit(main())
