"""The closed-form suite on this machine, with its verdict."""

from typing import Any


def verify_machine() -> dict[str, Any]:
    """Run the suite; return ``{"checks": [...], "passed": bool}``."""
    from sciimg.verification.suite import run

    checks = run()
    return {"checks": [c.as_json() for c in checks], "passed": bool(checks) and all(c.passed for c in checks)}
