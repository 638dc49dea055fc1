"""RESULTS.md, part by part: what measures the parts beside reading, which `make bench` writes, is run from here, and written there.

`python tests/bench/parts.py events files` runs those two, without names all: planner, batches, events, files, live. Each stands
between two comments of its name, so that one can be measured anew without the others. What a part says is what its script printed,
under the command that was run.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "RESULTS.md"
_PYTEST = ["-m", "pytest", "-q", "--no-header", "--tb=no", "-o", "addopts=", "-s"]
#: By part: its title, its bars, and what measures it.
PARTS: dict[str, tuple[str, str, list[str]]] = {
    "planner": (
        "What the planner costs beside its statement",
        "Bar: the whole `schema.execute` takes at most 3 times the driver alone.",
        [*_PYTEST, "tests/bench/test_planner_overhead.py"],
    ),
    "batches": (
        "What a batch costs beside its statement",
        "Bar: at most 3 times the CPU of the bare statement with scoring.",
        ["tests/bench/upsert_cost.py"],
    ),
    "events": ("Events", "Bar: 8,000 a second.", [*_PYTEST, "tests/bench/test_event_ingestion.py"]),
    "files": ("Files in and out, and back", "The bars stand in the table; an import may take 200 MB.", ["tests/bench/files.py"]),
    "live": (
        "How soon it is told",
        "Bars: p99 50 ms in one process, 250 ms across two, 1 s with 1,000 subscriptions, which add at most 150 MB.",
        ["tests/bench/live.py"],
    ),
}


def put(name: str, text: str) -> None:
    """Write a part in its place, at the end where it has none yet."""
    whole = RESULTS.read_text() if RESULTS.exists() else "# What was measured\n"
    part = f"<!-- {name} -->\n{text.strip()}\n<!-- /{name} -->\n"
    place = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->\n", re.DOTALL)
    RESULTS.write_text(place.sub(lambda _: part, whole) if place.search(whole) else f"{whole.rstrip()}\n\n{part}")


def measure(name: str, options: list[str]) -> None:
    """Run what measures a part, and write what it printed. One that ends with an error is written too where it only missed its bar."""
    title, bars, command = PARTS[name]
    load = os.getloadavg()[0]
    ran = subprocess.run([sys.executable, *command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    printed = [line for line in ran.stdout.splitlines() if line.startswith(("SQLite", "PostgreSQL", "|"))]
    if not printed:
        raise SystemExit(f"{name}: nothing was measured:\n{ran.stdout}")
    print("\n".join(printed), flush=True)
    table = printed if printed[0].startswith("|") else [f"- {line}" for line in printed]
    said = f"`{shlex.join(['python', *command, *options])}`; {bars} Load of the machine when it began: {load:.1f}."
    put(name, "\n".join([f"## {title}", "", said, "", *table]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help="which parts (all)")
    asked, rest = parser.parse_known_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: name some of {', '.join(PARTS)}")
    for each in asked.parts or PARTS:
        measure(each, rest)
