"""``python -m flows STUDY WORKDIR SLOTS ENGINE RESULT [CLUSTER]``: the flow in a process group of its own, watched by ``sciimg run``.

The result, or the problems, go to the RESULT file; stdout stays free for the command that started it.
"""

import dataclasses
import sys
from pathlib import Path

from sciimg.errors import Problem, SciimgError
from sciimg.files import write_json
from sciimg.protocol import load_study
from sciimg.stages.ledger import Run, run_folder
from sciimg.stages.outcome import finished
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
    except Exception as error:  # Prefect's own, as when its server was killed: what counts is whether the stages are done
        found = finished(Run(run_folder(load_study(Path(study)).study, Path(workdir))))
        if found is None:
            what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            message = f"The flow could not go on ({what}). Nothing is lost: run the same command again to continue."
            problem = Problem(study, "orchestration-failed", message)
            write_json(Path(result), {"exit_code": 1, "problems": [dataclasses.asdict(problem)]})
            return 1
        outcome = found
    write_json(Path(result), {"exit_code": 0, "outcome": outcome})
    return 0


if __name__ == "__main__":
    watch_parent(group=True)
    sys.exit(main(*sys.argv[1:]))
