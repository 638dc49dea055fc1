"""GraphQL over HTTP as the reference implementation's own audit checks it: 61 checks, all of them good."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parent / "audit"


def skip_or_fail(reason):
    # In CI everything is installed: a test that skips there would never run.
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def audit(tmp_path_factory):
    """The audit, installed as its lock file says."""
    if not (shutil.which("npm") and shutil.which("node")):
        skip_or_fail("npm is not installed: the audit of npm's graphql-http was not run")
    folder = Path(shutil.copytree(AUDIT, tmp_path_factory.mktemp("audit") / "audit", ignore=shutil.ignore_patterns("node_modules")))
    installed = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if installed.returncode:
        skip_or_fail(f"npm could not install the audit, so it was not run: {installed.stderr[-500:]}")
    return folder


def test_the_audit_of_graphql_over_http_finds_61_of_61(audit, server_url, key):
    command = ["node", "audit.mjs", f"{server_url}/graphql", key]
    audited = subprocess.run(command, cwd=audit, capture_output=True, text=True, timeout=120, check=True)
    checks = json.loads(audited.stdout)
    assert [check for check in checks if check["status"] != "ok"] == []
    assert len(checks) == 61
