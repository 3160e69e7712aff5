"""Making a :class:`~sciimg.records.Check`: theory, what came out, how far apart they may be."""

import math

from sciimg.records import Check

NONE = 1e300  # stands for a value that is not finite: JSON has no infinity, and such a check must fail visibly


def check(name: str, expected: float, got: float, tolerance: float, source: str) -> Check:
    """Return a check that passes when ``got`` is finite and within ``tolerance`` of ``expected``."""
    value = float(got)
    passed = math.isfinite(value) and abs(value - expected) <= tolerance
    return Check(
        name=name, expected=float(expected), got=value if math.isfinite(value) else NONE, tolerance=tolerance, passed=passed, source=source
    )
