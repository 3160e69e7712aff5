"""The machinery tested, images compared, and judged by a study."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sciimg.cli.command import Debug, Json, Reply, StudyFile, Workers, app, command, metrics_app
from sciimg.errors import printable


@command(app, "verify")
def verify(
    benchmarks: Annotated[
        bool, typer.Option("--benchmarks", help="Also train one small recipe of each family on real images, and hold it against bands.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON here.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Test the machinery on this machine against closed forms; with --benchmarks also by short trainings (a minute or two)."""
    from sciimg.files import write_json
    from sciimg.stages.verify import verify_machine

    value = verify_machine(benchmarks, lambda line: typer.echo(line, err=True))
    if out is not None:
        write_json(out, value)
    lines = [
        f"{'ok  ' if c['passed'] else 'FAIL'} {c['name']:<44} {c['got']:.6g} (expected {c['expected']:.6g} ± {c['tolerance']:.1g})"
        for c in value["checks"]
    ]
    return value, "\n".join([*lines, "passed" if value["passed"] else "FAILED"]), 0 if value["passed"] else 1


@command(metrics_app, "pair")
def metrics_pair(
    reference: Path,
    test: Path,
    metric: Annotated[str, typer.Option(help="Comma-separated names.")] = "ssim,psnr",
    data_range: Annotated[float | None, typer.Option(help="Width of the intensity scale; default: from the files.")] = None,
    label_kind: Annotated[str | None, typer.Option(help="What masks of several values number: instances or classes.")] = None,
    lpips_weights: Annotated[
        Path | None, typer.Option(help="Folder with your AlexNet or VGG-16 and the linear weights, for LPIPS: alexnet*.pth and alex.pth.")
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Compare images pairwise (SSIM, PSNR, ...), or masks (Dice, object F1, Hausdorff distance)."""
    from sciimg.stages.metrics import pair

    value = pair(reference, test, metrics=_names(metric), data_range=data_range, label_kind=label_kind, lpips_weights=lpips_weights)
    return value, _metric_lines(value), 0


@command(metrics_app, "set")
def metrics_set(
    real: Path,
    synthetic: Path,
    train: Annotated[Path | None, typer.Option(help="The training images, for memorisation.")] = None,
    metric: Annotated[str, typer.Option(help="Comma-separated names.")] = "kid,prdc",
    features: Annotated[str, typer.Option(help="Comma-separated feature spaces.")] = "scattering,texture",
    weights: Annotated[Path | None, typer.Option(help="Your own network: FILE.pt (TorchScript) or an encoder.safetensors.")] = None,
    workers: Workers = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Compare two sets of images (KID, precision and recall, ...)."""
    from sciimg.stages.metrics import compare_sets

    value = compare_sets(real, synthetic, train=train, metrics=_names(metric), features=_names(features), weights=weights, workers=workers)
    return value, _metric_lines(value), 0


@command(app, "validate")
def validate(
    study: StudyFile,
    real: Annotated[Path, typer.Option(help="Real images: a folder, a file or a collection.")],
    synthetic: Annotated[Path, typer.Option(help="Synthetic images: the same.")],
    train: Annotated[Path | None, typer.Option(help="The training images, when they are not part of REAL.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the evidence.")] = Path("validation"),
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Judge synthetic images by a study's checks, whoever made them; by its gates too, where the study only judges."""
    from sciimg.stages.validate import validate_command

    value = validate_command(study, real, synthetic, train, out)
    lines = [_metric_lines(value)]
    for gate in value.get("gates", ()):
        lines.append(f"{gate['outcome']:<13}{gate['gate']}: {gate['reason']}")
    if "decision" in value:
        lines.append(f"The synthetic images are {value['decision']}.")
    lines += [printable(f"Rejected  {r['source']}: {p['message']} [{p['kind']}]") for r in value["rejected"] for p in r["problems"]]
    return value, "\n".join(lines), 1 if value.get("decision") == "refused" else 3 if value["rejected"] else 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _metric_lines(value: dict[str, Any]) -> str:
    ordered = sorted(value["metrics"], key=lambda m: m["name"].startswith("control_"))  # what was asked for stands first
    lines = [f"{m['name']:<36} " + (_measured(m) if m["status"] == "ok" else f"undefined: {m['reason']}") for m in ordered]
    return "\n".join([*lines, *(f"Note  {note['message']} [{note['kind']}]" for note in value.get("notes", ()))])


def _measured(metric: dict[str, Any]) -> str:
    """Return a value with its interval, and what it is read against: the null, how many units there are, which way is better."""
    parts = [_with_interval(metric)]
    if metric.get("null"):
        parts.append(f"null {_with_interval(metric['null'])}")
    if metric.get("n") is not None:
        parts.append(f"n {metric['n']} {metric['unit_of_n']}")
    if metric.get("higher_is_better") is not None:
        parts.append(f"{'higher' if metric['higher_is_better'] else 'lower'} is better")
    return "; ".join(parts)


def _with_interval(number: dict[str, Any]) -> str:
    interval = f" [{number['ci95'][0]:.4g}, {number['ci95'][1]:.4g}]" if number.get("ci95") else ""
    return f"{number['value']:.5g}{interval}"
