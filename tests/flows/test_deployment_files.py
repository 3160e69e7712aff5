"""The files that an operator copies say what the flows take and how they end; a real server tries them in tests/hpc."""

import inspect
from pathlib import Path

import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Completed
from prefect.utilities.importtools import import_object

FLOWS = Path(__file__).parents[2] / "flows"


def test_every_deployment_names_a_flow_and_its_parameters() -> None:
    deployments = yaml.safe_load((FLOWS / "prefect.yaml").read_text())["deployments"]
    assert len(deployments) == 4
    for deployment in deployments:
        taken = inspect.signature(import_object(deployment["entrypoint"]).fn).parameters
        assert set(deployment["parameters"]) <= set(taken)
        needed = {name for name, parameter in taken.items() if parameter.default is parameter.empty}
        assert needed <= set(deployment["parameters"]), deployment["name"]
        assert deployment["concurrency_limit"]["limit"] == 1


def test_no_end_of_a_run_looks_like_a_death() -> None:
    """A run that ended as something that the automation does not expect would be called crashed two minutes later."""
    (said,) = yaml.safe_load((FLOWS / "automations.yaml").read_text())["automations"]
    automation = AutomationCore.model_validate(said)
    named = {Completed().name, Completed(name="Moved").name, "Failed", "Cancelled", "Crashed"}
    assert {f"prefect.flow-run.{name}" for name in named} | {"prefect.flow-run.heartbeat"} == set(automation.trigger.expect)
    assert automation.trigger.within.total_seconds() > 3 * 30  # heartbeats come every 30 s; three may be late
