"""``python -m sciimg.stages STAGE RUN``: one stage of a run, as every engine starts it.

Exit codes are those of the command line, and 85: training was told to stop (SIGTERM, SIGUSR1), and the same command goes on exactly there.
Problems go to ``logs/<stage>.problems.json`` for whoever started the stage, and to stderr.

Started several times at once by ``srun`` or torchrun, the processes train together: the first holds the run's lock, writes and speaks, and
the others end as it does. A stage that does not train is the first one's alone, and the others end at once.
"""

import dataclasses
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from sciimg.augmenters.ranks import LOST, Rank, quieten, rank_of
from sciimg.errors import CheckpointedError, SciimgError
from sciimg.files import write_json
from sciimg.stages import signals
from sciimg.stages.supervision import watch_parent

if TYPE_CHECKING:
    from sciimg.stages.ledger import Run, Stage


def main(stage: str, folder: str) -> int:
    """Perform one stage; return the exit code."""
    from sciimg.stages.ledger import Run, perform
    from sciimg.stages.plan import plan_of

    run, rank = Run(Path(folder)), None
    try:
        rank = rank_of()
        if rank is None or rank.first:
            _note(run, stage).unlink(missing_ok=True)
        chosen = plan_of(run)[stage]
        if not chosen.trains:
            signals.heed()
        if rank is None or (rank.first and not chosen.trains):
            perform(chosen, run)
        elif chosen.trains:
            _train_together(rank, chosen, run)
    except SciimgError as error:
        if rank is None or rank.first:
            return _say(error, run, stage)
        if any(p.kind in LOST for p in error.problems):  # then the first one may be unable to say it
            print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _train_together(rank: Rank, stage: "Stage", run: "Run") -> None:
    """Be one of the processes of a training; what stops any of them is raised in each."""
    quieten()
    from sciimg.augmenters.team import joined
    from sciimg.stages.ledger import partial_folder, perform

    def stop(error: SciimgError) -> int:
        return _say(error, run, stage.name) if rank.first else error.exit_code

    with joined(rank, stop) as meeting:
        if rank.first:
            perform(stage, run)
            meeting.tell(None)
        else:
            stage.work(run, partial_folder(run, stage.name))
            meeting.outcome()


def _say(error: SciimgError, run: "Run", stage: str) -> int:
    """Leave what went wrong for whoever started the stage, and in its log; return the exit code."""
    write_json(_note(run, stage), {"exit_code": error.exit_code, "problems": [dataclasses.asdict(p) for p in error.problems]})
    if isinstance(error, CheckpointedError):
        print(error, file=sys.stderr)
    else:
        traceback.print_exception(error)
    return error.exit_code


def _note(run: "Run", stage: str) -> Path:
    return run.path / "logs" / f"{stage}.problems.json"


if __name__ == "__main__":
    signals.note()
    watch_parent()
    sys.exit(main(*sys.argv[1:]))
