"""Look the installed packages up in the database of known vulnerabilities, by pip-audit.

    python .ci/audit.py PIP_AUDIT SITE_PACKAGES

Ends with 0 if none is known to be vulnerable, 1 if some are, and 2 if it could not find out.
"""

import json
import subprocess
import sys

NOT_AUDITED = (
    "Not audited: the database of vulnerabilities could not be reached from here. This is neither "
    "good news nor bad; try again from a machine that reaches it."
)


def audit(pip_audit, site_packages):
    command = [pip_audit, "--path", site_packages, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        print(f"{NOT_AUDITED} pip-audit says:\n{done.stderr[-1000:]}")
        return 2
    looked_up = [package for package in packages if "skip_reason" not in package]
    # Where a mirror answers instead, pip-audit skips every package, and sees no vulnerability.
    if not looked_up:
        print(f"{NOT_AUDITED} None of the {len(packages)} packages was found in it.")
        return 2
    missed = [package["name"] for package in packages if "skip_reason" in package]
    print(
        f"{len(looked_up)} packages looked up; not in the database: {', '.join(missed) or 'none'}"
    )
    vulnerable = [package for package in looked_up if package["vulns"]]
    for package in vulnerable:
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(audit(*sys.argv[1:]))
