"""The flow behind nightly re-validation: the newest release is audited and judged again, and what moved is said."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.parameters import refuse
from flows.shown import Shown
from flows.told import veiled
from flows.unheard import outlive_reader
from sciimg.errors import Problem
from sciimg.stages.chores import carry_out
from sciimg.stages.overview import digest8

_SHOWN = 50  # rows of a table that people look at; the result in the run has all


@flow(name="sciimg-revalidation", validate_parameters=False)
def revalidation_flow(workdir: str = "runs", study: str = "", trust: str = "") -> State[Any]:
    """Look at the newest release below a folder of runs again.

    Parameters
    ----------
    workdir, study, trust
        As of :func:`sciimg.stages.revalidate.revalidate`.

    Returns
    -------
    State
        Completed where everything is as signed, or only numbers moved (then it is called Moved); failed where the audit found a fault, or
        the decision would be another one today.
    """
    outlive_reader()
    refuse(_problems(workdir, study, trust))
    value = revalidation_task(workdir, study, trust)
    shown = Shown(f"{value['study']}-revalidation")
    shown.name(f"revalidation-{value['study']}-{digest8(value['digest'])}", ("revalidation", value["study"], digest8(value["digest"])))
    said = _sentence(value)
    shown.words("verdict", f"# {value['study']}: {value['verdict']}\n\n{said}\n\nEverything: `{value['result']}`")
    if value["environment"]:
        rows = [{"library": name, "signed": then, "now": now} for name, (then, now) in value["environment"].items()]
        shown.table("environment", rows, "Versions that are not those of the signed release")
    if value["moved"]:
        shown.table("moved", [_row(m) for m in value["moved"][:_SHOWN]], said)
    match value["verdict"]:
        case "as signed":
            return Completed(message=said)
        case "moved":
            return Completed(name="Moved", message=said)
        case _:
            return Failed(message=said)


@task(name="judge-again", cache_policy=NO_CACHE, persist_result=False)
def revalidation_task(workdir: str, study: str, trust: str) -> dict[str, Any]:
    """Audit and judge again in a supervised process."""
    log_file = Path(workdir) / "revalidation.log"
    with veiled(f"The newest release in {workdir} could not be judged again", f"{log_file} says it in full."):
        return carry_out("revalidate", log_file, workdir=workdir, study=study, trust=trust)


def _problems(workdir: str, study: str, trust: str) -> list[Problem]:
    wrong = [
        Problem(name, "bad-parameter", f"It is a text; got {value!r}. Set it in the deployment.")
        for name, value in (("workdir", workdir), ("study", study), ("trust", trust))
        if not isinstance(value, str)
    ]
    if not wrong and not Path(workdir).is_dir():
        message = f"The folder of runs must exist; there is none at {Path(workdir).absolute()}. Run a study there, or set another one."
        wrong.append(Problem("workdir", "bad-parameter", message))
    if not wrong and trust and not Path(trust).is_file():
        message = f"The trust policy is a file; there is none at {Path(trust).absolute()}. `sciimg trust add` makes one."
        wrong.append(Problem("trust", "bad-parameter", message))
    return wrong


def _sentence(value: dict[str, Any]) -> str:
    if value["verdict"] == "fault":
        kinds = ", ".join(sorted({fault["kind"] for fault in value["faults"]}))
        return f"The audit found {len(value['faults'])} faults ({kinds}): `sciimg audit {value['run']}/release/release` names them."
    decision, moved = value["decision"], len(value["moved"])
    libraries = ", ".join(value["environment"]) or "none"
    said = f"{moved} of {value['compared']} numbers moved; libraries of another version: {libraries}."
    if decision["now"] != decision["signed"]:
        return f"Signed as {decision['signed']}, today it would be {decision['now']}. {said}"
    return f"Still {decision['now']}. {said}"


def _row(moved: dict[str, Any]) -> dict[str, Any]:
    return {"of": moved["stage"], "number": moved["name"], "signed": _number(moved["signed"]), "now": _number(moved["now"])} | {
        "change": "" if moved["change"] is None else f"{moved['change']:+.3g}",
        "in half widths of its interval": "" if moved["of_interval"] is None else f"{moved['of_interval']:+.3g}",
    }


def _number(side: dict[str, Any] | None) -> str:
    if side is None:
        return "not there"
    return side["status"] if side["value"] is None else f"{side['value']:.6g} ({side['status']})"
