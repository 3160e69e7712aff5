"""The flow behind a watched folder: what is new and whole goes into a collection, and a study is run anew where one is named."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.parameters import check_study_parameters, refuse, text, writable_folder
from flows.shown import Shown
from flows.study import study_flow
from flows.told import veiled
from flows.unheard import outlive_reader
from sciimg.stages.chores import carry_out
from sciimg.stages.watch import check_watch, done_with


@flow(name="sciimg-watch", validate_parameters=False)
def watch_flow(
    folder: str,
    collection: str,
    settle_s: float = 60.0,
    marker: str = "",
    spacing: str = "",
    unit: str = "",
    label_kind: str = "",
    keep_names: bool = False,
    study_file: str = "",
    workdir: str = "runs",
    slots: int = 2,
    engine_name: str = "local",
    cluster: str | None = None,
) -> dict[str, Any]:
    """Take what is new and whole in a folder into a collection; run a study anew when something came and nothing is on its way.

    Parameters
    ----------
    folder, collection, settle_s, marker, spacing, unit, label_kind, keep_names
        As of :func:`sciimg.stages.watch.take_new`.
    study_file : str
        A study whose sources name the folder; empty: none is run.
    workdir, slots, engine_name, cluster
        As of :func:`flows.study.study_flow`.
    """
    outlive_reader()
    refuse([*text("folder", folder), *text("collection", collection)])
    about: dict[str, Any] = {
        "settle_s": settle_s,
        "marker": marker,
        "spacing": spacing,
        "unit": unit,
        "label_kind": label_kind,
        "keep_names": keep_names,
    }
    check_watch(folder, collection, **about)
    refuse(list(writable_folder("collection", str(Path(collection).parent))))
    study = check_study_parameters(study_file, workdir, slots, engine_name, cluster) if study_file else None
    shown = Shown(f"watch-{Path(collection).name}")
    shown.name(f"watch-{Path(collection).name}", ("watch",) if study is None else ("watch", study.name))
    value = watch_task(folder, collection, about)
    rows = [{"what": "new images", "count": len(value["new"])}, {"what": "not whole yet", "count": value["waiting"]}]
    rows += [{"what": f"left out: {kind}", "count": count} for kind, count in value["left_out"].items()]
    rows += [{"what": "images in the collection", "count": value["images"]}]
    shown.table("arrivals", rows, "What came into the watched folder; which file is which stands beside the collection")
    if study is not None and value["due"] and not value["waiting"]:
        value["run"] = study_flow(study_file, workdir, slots, engine_name, cluster)
        done_with(Path(collection))
    return value


@task(name="take-what-is-new", cache_policy=NO_CACHE, persist_result=False)
def watch_task(folder: str, collection: str, about: dict[str, Any]) -> dict[str, Any]:
    """Look at the folder in a supervised process."""
    log_file = Path(f"{collection}.watched.log")
    with veiled(f"The folder {folder} could not be taken in", f"{log_file} says it in full."):
        return carry_out("watch", log_file, folder=folder, collection=collection, **about)
