"""`python -m benchmarks.fuzz [--count 200000] [--seed 1]`: mutated documents, messages, files and
header sets against a running `web`. `--show N` prints one input instead.

What must hold: no answer is a 5xx, no refusal is longer than 100 kB, no callback of the event loop
takes more than 100 ms of CPU, by its own meter. Exits with 1 if something doesn't.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz.inputs import made
from benchmarks.fuzz.run import Found, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, metavar="N", help="print the input with that number")
    asked = parser.parse_args()
    if asked.show is not None:
        shown = made(asked.seed, asked.show)
        print(f"{shown.kind}: {shown.what}\n{shown.method} {shown.path}, {len(shown.body):,} bytes")
        print(shown.headers, shown.body[:2_000], sep="\n")
        return 0
    with tempfile.TemporaryDirectory() as home:
        found = run(Path(home), asked.seed, asked.count, progress=True)
    print(told(found, asked.seed))
    return 1 if found.wrong() else 0


def told(found: Found, seed: int) -> str:
    kinds = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(found.kinds.items()))
    answers = ", ".join(f"{count:,} × {status}" for status, count in sorted(found.answers.items()))
    lines = [f"inputs    {kinds}", f"answers   {answers}",
             f"longest   refusal {found.longest_refusal[0]:,} bytes (input {found.longest_refusal[1]})",
             f"loop      {found.callbacks:,} callbacks; the dearest, in ms of CPU:"]  # fmt: skip
    for each in found.dearest[:5]:
        number = each["request"].removeprefix("fuzz-")
        which = f"input {number}: {_what(seed, number)}" if number.isdecimal() else "no request's"
        lines.append(f"          {each['ms']:6.1f}  {each['callback']}, {which}")
    slowest, number = found.slowest
    lines.append(f"slowest   {slowest:.2f} s, input {number}: {_what(seed, str(number))}")
    return "\n".join([*lines, *(f"WRONG     {each}" for each in found.wrong()[:20])])


def _what(seed: int, number: str) -> str:
    one = made(seed, int(number))
    return f"{one.kind} ({one.what[:100]}), {one.path}, {len(one.body):,} bytes"


if __name__ == "__main__":
    sys.exit(main())
