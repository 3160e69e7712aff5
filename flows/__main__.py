"""``python -m flows STUDY WORKDIR SLOTS ENGINE RESULT [CLUSTER]``: the flow in a process group of its own, watched by ``sciimg run``.

The result, or the problems, go to the RESULT file; stdout stays free for the command that started it.
"""

import dataclasses
import sys
import traceback
from pathlib import Path

from sciimg.errors import Problem, SciimgError
from sciimg.files import write_json, write_text
from sciimg.stages.supervision import watch_parent


def main(study: str, workdir: str, slots: str, engine: str, result: str, cluster: str | None = None) -> int:
    """Run the flow; return the exit code of DESIGN."""
    from flows.settings import embed

    embed(Path(workdir))
    from flows.study import study_flow

    try:
        outcome = study_flow(study, workdir, int(slots), engine, cluster)
    except SciimgError as error:
        write_json(Path(result), {"exit_code": error.exit_code, "problems": [dataclasses.asdict(p) for p in error.problems]})
        return error.exit_code
    except Exception as error:  # Prefect's own, e.g. a server that does not answer: runs do not depend on it
        place = Path(workdir) / "flow-error.log"
        write_text(place, traceback.format_exc())
        message = f"The flow ended with {type(error).__name__}: {error} Nothing is lost: run the same command again to continue."
        write_json(Path(result), {"exit_code": 1, "problems": [Problem(str(place), "flow-failed", message).as_dict()]})
        return 1
    write_json(Path(result), {"exit_code": 0, "outcome": outcome})
    return 0


if __name__ == "__main__":
    watch_parent(group=True)
    sys.exit(main(*sys.argv[1:]))
