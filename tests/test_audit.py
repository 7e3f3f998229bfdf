"""The audit of packages says what it found, and never passes where it could not look."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci" / "audit.py"))["audit"]

SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
SKIPPED = {"name": "ours", "skip_reason": "not found and could not be audited"}
VULNERABLE = {
    "name": "torch",
    "version": "2.9",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2.10"]}, {"id": "CVE-2", "fix_versions": []}],
}


def found(*packages):
    return json.dumps({"dependencies": packages})


# What pip-audit prints and how it ends; how the audit ends, and what it says.
CASES = {
    "all sound": (found(SOUND), 0, 0, "1 packages looked up; not in the database: none"),
    "one skipped": (found(SOUND, SKIPPED), 0, 0, "1 packages looked up; .*database: ours"),
    "vulnerable": (
        found(SOUND, VULNERABLE),
        1,
        1,
        "torch 2.9: CVE-1, fixed in 2.10\ntorch .*CVE-2",
    ),
    "all skipped": (found(SKIPPED, SKIPPED), 0, 2, "^Not audited: .* None of the 2 packages"),
    "no packages": (found(), 0, 2, "^Not audited"),
    "no answer": ("", 1, 2, "^Not audited: .* pip-audit says:\nNo connection"),
    "another answer": ("[]", 0, 2, "^Not audited"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_audit_passes_only_where_it_looked_and_found_nothing(case, tmp_path, capsys):
    printed, status, expected, message = CASES[case]
    pip_audit = tmp_path / "pip-audit"
    pip_audit.write_text(
        f"#!/bin/sh\nprintf '%s' {shlex.quote(printed)}\necho 'No connection' >&2\nexit {status}\n"
    )
    pip_audit.chmod(0o755)
    assert AUDIT(str(pip_audit), str(tmp_path)) == expected
    said = capsys.readouterr().out
    assert re.search(message, said), said
