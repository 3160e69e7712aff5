"""A cluster file is checked like a study: every mistake at once, with its line."""

from pathlib import Path

import pytest

from sciimg.errors import ClusterError
from sciimg.protocol.cluster import cluster_schema, load_cluster, seconds

ROOT = Path(__file__).parents[2]
GOOD = """cluster: 1
defaults: {partition: cpu, time: "2:00:00", memory: 8G, environment: [module load python]}
stages:
  train-*: {partition: gpu, gpus: 2, nodes: 2, tasks: 4}
  train-gan: {memory: 64G, environment: []}
"""


def problems(text: str, folder: Path) -> list[tuple[str, str]]:
    path = folder / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ClusterError) as error:
        load_cluster(path)
    return [(p.where.removeprefix(str(path)), p.kind) for p in error.value.problems]


def test_later_patterns_win_and_folds_ask_for_what_their_stage_asks_for(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(GOOD)
    cluster = load_cluster(tmp_path / "c.yaml").cluster
    gan, fold, other = cluster.resources("train-gan"), cluster.resources("fold-3-train-gan"), cluster.resources("validate-gan")
    assert (gan.partition, gan.gpus, gan.tasks, gan.memory, gan.environment) == ("gpu", 2, 4, "64G", ())
    assert fold == gan
    assert (other.partition, other.gpus, other.memory, other.environment) == ("cpu", 0, "8G", ("module load python",))


def test_five_mistakes_are_five_problems_of_one_message(tmp_path: Path) -> None:
    text = """cluster: 1
defaults:
  partition: "a b"
  memry: 4G
stages:
  trian-*: {gpus: 1}
  decide: {cpus: 2}
  validate-*: {time: "90"}
"""
    assert problems(text, tmp_path) == [
        (":3: defaults.partition", "bad-value"),
        (":4: defaults.memry", "unknown-key"),
        (":6: stages.trian-*", "unknown-stage"),
        (":7: stages.decide", "light-stage"),
        (":8: stages.validate-*.time", "bad-value"),
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("defaults: {tasks: 2}", "not-training"),
        ("stages: {generate-*: {nodes: 2, tasks: 2}}", "not-training"),
        ("stages: {train-*: {nodes: 2, tasks: 3}}", "uneven-tasks"),
        ('defaults: {time: "0:08:00"}', "no-time-to-work"),
        ("stages: {train-*: {workers: 2, memory: 2G}}", "not-divided"),
        ("defaults: {workers: 2, memory: 2G}", "not-divided"),
        ("stages: {generate-*: {workers: 2}}", "no-memory"),
        ("signal_lead_s: 9000", "no-time-to-work"),
        ('defaults: {options: ["--mem=4G"]}', "reserved-option"),
        ('defaults: {options: ["--job-name=x"]}', "reserved-option"),
        ('defaults: {environment: ["a\\nb"]}', "bad-value"),
        ("defaults: {account: --wrap}", "bad-value"),
        ("signal_lead_s: 5", "bad-value"),
    ],
)
def test_rules(line: str, kind: str, tmp_path: Path) -> None:
    assert [k for _, k in problems(f"cluster: 1\n{line}\n", tmp_path)] == [kind]


@pytest.mark.parametrize(
    ("text", "kind"), [("", "not-a-cluster-file"), ("- a", "not-a-cluster-file"), ("cluster: 1\n\tx: 1", "yaml-syntax")]
)
def test_files_that_are_something_else(text: str, kind: str, tmp_path: Path) -> None:
    assert [k for _, k in problems(text, tmp_path)] == [kind]


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="schema --cluster"):
        load_cluster(tmp_path / "cluster.yaml")


def test_the_documented_file_is_sound_and_its_schema_takes_it() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import yaml

    load_cluster(ROOT / "reports/guide/cluster.yaml")
    jsonschema.Draft202012Validator.check_schema(cluster_schema())
    jsonschema.validate(yaml.safe_load((ROOT / "reports/guide/cluster.yaml").read_text()), cluster_schema())


def test_durations() -> None:
    assert [seconds(t) for t in ("0:00:30", "2:00:00", "1-02:00:00")] == [30, 7200, 93600]
