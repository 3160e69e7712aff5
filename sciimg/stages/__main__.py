"""``python -m sciimg.stages STAGE RUN``: one stage of a run, as every engine starts it.

Exit codes are those of the command line. Problems go to ``logs/<stage>.problems.json`` for whoever started the stage, and to stderr.
"""

import dataclasses
import sys
import traceback
from pathlib import Path

from sciimg.errors import SciimgError
from sciimg.files import write_json
from sciimg.stages.supervision import watch_parent


def main(stage: str, folder: str) -> int:
    """Perform one stage; return the exit code."""
    from sciimg.stages.ledger import Run, perform
    from sciimg.stages.plan import plan_of

    run = Run(Path(folder))
    problems = run.path / "logs" / f"{stage}.problems.json"
    problems.unlink(missing_ok=True)
    try:
        perform(plan_of(run)[stage], run)
    except SciimgError as error:
        write_json(problems, {"exit_code": error.exit_code, "problems": [dataclasses.asdict(p) for p in error.problems]})
        traceback.print_exc()
        return error.exit_code
    return 0


if __name__ == "__main__":
    watch_parent()
    sys.exit(main(*sys.argv[1:]))
