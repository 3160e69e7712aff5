"""The closed-form suite on this machine, with its verdict, and the short trainings where they are asked for."""

from collections.abc import Callable
from typing import Any


def verify_machine(benchmarks: bool = False, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Run the suite, with ``benchmarks`` also one training of each family; return ``{"checks": [...], "passed": bool}``."""
    from sciimg.verification.suite import run

    checks = run()
    if benchmarks:
        from sciimg.verification.benchmarks import checks as trained

        checks += trained(say)
    return {"checks": [c.as_json() for c in checks], "passed": bool(checks) and all(c.passed for c in checks)}
