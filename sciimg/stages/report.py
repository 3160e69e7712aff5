"""Render a run, several runs side by side, or a study before any run."""

from pathlib import Path
from typing import Any


def report_command(path: Path, *, plan: bool, out: Path | None) -> dict[str, Any]:
    """Write ``report.html`` and ``report.pdf`` (``plan.*`` with ``plan``, ``runs.*`` of several runs); return the files.

    Parameters
    ----------
    path : Path
        A run folder, or a folder of run folders; with ``plan``, a study file.
    out : Path, optional
        Default: the current folder.
    """
    from sciimg.protocol import load_study
    from sciimg.report.build import plan_of_study, report_of_run, write_report
    from sciimg.report.runs import report_of_runs, runs_in

    if plan or path.suffix in (".yaml", ".yml"):
        model = plan_of_study(load_study(path).study)
    elif runs := runs_in(path):
        model = report_of_runs(runs)
    else:
        model = report_of_run(path)
    folder = out or Path()
    folder.mkdir(parents=True, exist_ok=True)
    return {"files": [str(f) for f in write_report(model, folder)]}
