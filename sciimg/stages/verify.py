"""The closed-form suite on this machine, as a command and as a stage."""

from pathlib import Path
from typing import Any

from sciimg.files import write_json
from sciimg.records import Metric


def verify_machine() -> dict[str, Any]:
    """Run the suite; return ``{"checks": [...], "passed": bool}``."""
    from sciimg.verification.suite import run

    checks = run()
    return {"checks": [c.as_json() for c in checks], "passed": bool(checks) and all(c.passed for c in checks)}


def verify(out: Path) -> None:
    """Write ``evidence.json``: every check, and the number of failures as a metric that gates can meet."""
    value = verify_machine()
    failed = [c["name"] for c in value["checks"] if not c["passed"]]
    metric = Metric(
        name="verification-failures",
        value=float(len(failed)) if value["checks"] else None,
        status="ok" if value["checks"] else "undefined",
        reason="" if value["checks"] else "the suite ran no check",
        n=len(value["checks"]),
        unit_of_n="checks",
        higher_is_better=False,
        source="closed forms; see each check",
        detail={"failed": failed},
    )
    write_json(out / "evidence.json", {**value, "metrics": [metric.as_json()]})
