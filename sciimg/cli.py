"""The command line: parse, call, print. No logic lives here; rooms are imported when a command needs them."""

import errno
import functools
import json
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from sciimg.errors import InputError, Problem, SciimgError, StorageError, printable

app = typer.Typer(
    name="sciimg",
    help="Real microscopy and MRI volumes into signed, validated synthetic datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Real images to start with.", no_args_is_help=True)
recipes_app = typer.Typer(help="The generative systems, as data.", no_args_is_help=True)
metrics_app = typer.Typer(help="Image metrics on any files, folders or collections.", no_args_is_help=True)
review_app = typer.Typer(help="Blinded reader studies.", no_args_is_help=True)
trust_app = typer.Typer(help="Whose signatures an audit believes: make and extend a trust policy.", no_args_is_help=True)
for _name, _sub in (("data", data_app), ("recipes", recipes_app), ("metrics", metrics_app), ("review", review_app), ("trust", trust_app)):
    app.add_typer(_sub, name=_name)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[str | None, typer.Option(help="cpu (default; the same bits everywhere), cuda, or several to train on: cuda:0,cuda:1.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes; does not change results. Default: the cluster of DASK_SCHEDULER_ADDRESS, or this process."),
]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's YAML file.")]
_SHOWN = 40  # faults of an audit that people read; a script gets all
_INTERNAL = 70  # EX_SOFTWARE of sysexits.h: a mistake of ours is neither a refusal nor bad input
Reply = tuple[Any, str, int]  # JSON value, text for people, exit code


def command(group: typer.Typer, name: str) -> Callable[[Callable[..., Reply]], Callable[..., None]]:
    """Register a function that returns (JSON value, text, exit code) as a command with ``--json``, ``--debug`` and one way to fail."""

    def register(function: Callable[..., Reply]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            as_json, debug = arguments["json_"], arguments["debug"]
            try:
                value, text, code = function(**{name: _placed(value) for name, value in arguments.items()})
            except SciimgError as error:
                fail(error, as_json=as_json, debug=debug)
            except BrokenPipeError:
                raise typer.Exit(0) from None
            except KeyboardInterrupt:
                typer.echo("Interrupted. Run the same command again to continue.", err=True)
                raise typer.Exit(130) from None
            except OSError as error:
                fail(_refused_by_system(error), as_json=as_json, debug=debug, cause=error)
            except Exception as error:
                unexpected = Problem("sciimg", "internal-error", f"{type(error).__name__}: {error}. Please report it, with --debug.")
                fail(InputError(unexpected), as_json=as_json, debug=debug, code=_INTERNAL, cause=error)
            else:
                if value is not None:  # None: all that there is to say was printed when it was known
                    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) if as_json else text)
                raise typer.Exit(code)

        group.command(name)(run)
        return run

    return register


def _placed(value: Any) -> Any:
    """Return an argument, with each path that names a place in an object store as such a place."""
    from sciimg.objects import as_place

    if isinstance(value, list):
        return [_placed(each) for each in value]
    return as_place(value) if isinstance(value, Path) else value


def fail(error: SciimgError, *, as_json: bool, debug: bool, code: int | None = None, cause: BaseException | None = None) -> None:
    """Print every problem as one block on stderr (with ``--json`` also as JSON on stdout) and exit."""
    if debug:
        traceback.print_exception(cause or error)
    if as_json:
        typer.echo(json.dumps({"problems": [p.as_dict() for p in error.problems]}, indent=1, ensure_ascii=False))
    typer.echo("\n".join(f"Error  {printable(p.where)}\n       {printable(p.message)} [{p.kind}]" for p in error.problems), err=True)
    raise typer.Exit(error.exit_code if code is None else code)


def _refused_by_system(error: OSError) -> SciimgError:
    """Return what to say when the file system refuses: a full disk can be made room on, anything else is a wrong place."""
    where = str(error.filename or "file system")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        message = f"There must be room for the output; there is none ({error.strerror}). Make room and run the same command again."
        return StorageError(Problem(where, "disk-full", message))
    message = f"The path must be one that can be read or written; the system says: {error.strerror or error}. Check it and the permissions."
    return InputError(Problem(where, "file-system", message))


def _terminated(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the ``sciimg`` command."""
    signal.signal(signal.SIGTERM, _terminated)  # a scheduler's request to end is an interruption like any other
    app()


def _choose(device: str | None, *, here: bool = True) -> None:
    """Hand a device to the stages through the environment; one of this machine is checked before anything is done on it."""
    import os

    if device is not None and not here:
        os.environ["SCIIMG_DEVICE"] = device
    elif device is not None:
        from sciimg.augmenters.device import VARIABLE, team_of

        os.environ[VARIABLE] = ",".join(map(str, team_of(device)))


# ---------------------------------------------------------------- the whole way


@command(app, "run")
def run(
    study: StudyFile,
    workdir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    engine: Annotated[str, typer.Option(help="local, dask or slurm.")] = "local",
    cluster: Annotated[Path | None, typer.Option(help="What jobs ask of a Slurm cluster; default: cluster.yaml here.")] = None,
    slots: Annotated[int, typer.Option(min=0, help="Heavy stages at the same time; does not change results. 0: one a core.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it will cost, and stop.")] = False,
    publish: Annotated[Path | None, typer.Option(metavar="URI", help="s3:// or gs:// place to which the release is copied.")] = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Carry a study from its images to a decided, signed release. Run it again to continue after any interruption."""
    from sciimg.stages import launch
    from sciimg.stages.copy import check_publishing, copy_command

    check_publishing(workdir, publish)
    _choose(device, here=engine != "slurm")
    if dry_run:
        from sciimg.stages.forecast.shown import table

        value = launch.dry_run(study, workdir, engine, slots, cluster)
        return value, table(value), 0
    outcome = launch.launch(study, workdir, engine=engine, slots=slots, cluster=cluster)
    if publish is not None:
        outcome["published"] = copy_command(Path(outcome["release"]), publish)["to"]
    reasons = "\n".join(f"  - {r}" for r in outcome["reasons"])
    text = f"Decision  {outcome['decision']}\n{reasons}\nRelease   {outcome['release']}\nReport    {outcome['report']}"
    text += f"\nPublished {outcome['published']}" if publish is not None else ""
    return outcome, text, 1 if outcome["decision"] == "refused" else 0


@command(app, "schema")
def schema(
    cluster: Annotated[bool, typer.Option("--cluster", help="Of a cluster file instead.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Print the JSON Schema of a study, for editors and validators."""
    from sciimg.protocol import json_schema
    from sciimg.protocol.cluster import cluster_schema

    value = cluster_schema() if cluster else json_schema()
    return value, json.dumps(value, indent=1, ensure_ascii=False), 0


# ---------------------------------------------------------------- data


@command(app, "ingest")
def ingest(
    src: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files, folders or collections of any readable format.")],
    out: Annotated[Path, typer.Option(help="The collection to make.")],
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Where the files say nothing.")] = None,
    unit: Annotated[str | None, typer.Option(help="nanometer, micrometer, millimeter, or pixel: no physical size is known.")] = None,
    override_spacing: Annotated[bool, typer.Option("--override-spacing", help="Let --spacing contradict a file.")] = False,
    axes: Annotated[str | None, typer.Option(help="For stacks without named axes, e.g. tyx.")] = None,
    label_kind: Annotated[str | None, typer.Option(help="What label files beside images number: instances or classes.")] = None,
    on_error: Annotated[str, typer.Option(help="quarantine or stop.")] = "quarantine",
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Call images after their files; only where no file is named after a person.")
    ] = False,
    workers: Workers = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Read real images into a collection of OME-Zarr volumes."""
    from sciimg.stages.ingest import ingest_files, parse_spacing

    said = parse_spacing(spacing, unit)
    value = ingest_files(
        src,
        out,
        spacing=said,
        override=override_spacing,
        axes=axes,
        label_kind=label_kind,
        on_error=on_error,
        keep_names=keep_names,
        workers=workers,
    )
    lines = [
        f"{i['id']}  {i['axes']} {i['shape']} {i['dtype']}  {_numbers(i['spacing'])} {i['unit']}  {printable(i['source'])}"
        for i in value["images"]
    ]
    lines += _noticed(value["images"])
    lines += [printable(f"Rejected  {r['source']}: {p['message']} [{p['kind']}]") for r in value["rejected"] for p in r["problems"]]
    return value, "\n".join([*lines, f"{len(value['images'])} images in {out}"]), 3 if value["rejected"] else 0


@command(app, "info")
def info(
    path: Path,
    verify: Annotated[bool, typer.Option("--verify", help="Read every pixel again and compare it with the digests.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild-catalogue", help="Write a collection's catalogue anew from its images.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Count images of a collection; also !=, <, <=, > and >=; all must hold."),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Name so many of them, drawn at random.")] = 0,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Describe an image, collection, model, run or release."""
    from sciimg.stages import info as about

    if rebuild:
        about.rebuild(path)
    value = about.describe(path) if where is None and not sample else about.selected(path, where or (), sample)
    if verify:
        problems = about.verify(path)
        value |= {"verified": not problems, "faults": [p.as_dict() for p in problems]}
    lines = [about.table(value) or "\n".join(f"{key:<14} {_short(entry)}" for key, entry in value.items() if key != "faults")]
    lines += [f"{f['where']}: {f['message']} [{f['kind']}]" for f in value.get("faults", ())]
    return value, "\n".join(lines), 0 if value.get("verified", True) else 1


@command(data_app, "list")
def data_list(json_: Json = False, debug: Debug = False) -> Reply:
    """List real images that ship inside dependencies."""
    from sciimg.io.samples import available

    value = available()
    return {"data": value}, "\n".join(f"{d['name']:<12} {d['title']}  ({d['licence']})" for d in value), 0


@command(data_app, "fetch")
def data_fetch(
    name: str,
    out: Annotated[Path | None, typer.Option(help="Folder; default: NAME here.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Copy one of them into a folder."""
    from sciimg.io.samples import fetch

    folder = out or Path(name)
    files = [str(f) for f in fetch(name, folder)]
    return {"name": name, "files": files}, "\n".join(files), 0


# ---------------------------------------------------------------- generation


@command(recipes_app, "list")
def recipes_list(json_: Json = False, debug: Debug = False) -> Reply:
    """List the recipes."""
    from sciimg.augmenters.recipes import summaries

    value = summaries()
    return {"recipes": value}, "\n".join(f"{r['name']:<24} {r['space']} x {r['process']} x {r['backbone']}  {r['dims']}" for r in value), 0


@command(recipes_app, "show")
def recipes_show(name: str, json_: Json = False, debug: Debug = False) -> Reply:
    """Print one recipe whole."""
    from sciimg.augmenters.recipes import get_recipe

    value = get_recipe(name, {}).model_dump(mode="json")
    return value, json.dumps(value, indent=1), 0


@command(app, "train")
def train(
    study: StudyFile,
    data: Annotated[Path, typer.Option(help="Real images: a folder, a file or a collection.")],
    out: Annotated[Path, typer.Option(help="The model folder to make.")],
    recipe: Annotated[str | None, typer.Option(help="Name of the recipe in the study; default: its first.")] = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Train one recipe of a study on a collection."""
    from sciimg.stages.train import train_command

    _choose(device)
    value = train_command(study, data, out, recipe)
    return value, "" if value is None else f"Model  {out}\nDigest {value['digest']}", 0


@command(app, "generate")
def generate(
    model: Path,
    out: Annotated[Path, typer.Option(help="The synthetic collection to make.")],
    count: Annotated[int, typer.Option(min=1)],
    condition: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Fix a scalar or class condition.")] = None,
    mask: Annotated[Path | None, typer.Option(help="A collection whose labels are the masks.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    sampler: Annotated[str | None, typer.Option()] = None,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    shape: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Images of any size, larger than memory too.")] = None,
    source: Annotated[Path | None, typer.Option(help="A collection of real images to translate, or to begin from.")] = None,
    task: Annotated[str | None, typer.Option(help="inpaint, outpaint, copy, interpolate or edit; default: the recipe's.")] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="BOX|COLLECTION", help="What to inpaint or outpaint, or labels where it is known.")
    ] = None,
    strength: Annotated[float | None, typer.Option(min=0, max=1, help="Share of a copy's noise that is redrawn.")] = None,
    workers: Workers = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Draw samples from a trained model into a collection with lineage."""
    from sciimg.stages.generate import generate_command

    _choose(device)
    value = generate_command(
        model,
        out,
        count=count,
        conditions=condition or [],
        masks=mask,
        seed=seed,
        sampler=sampler,
        steps=steps,
        shape=shape,
        source=source,
        task=task,
        keep=keep,
        strength=strength,
        workers=workers,
    )
    return value, f"{value['count']} samples in {out}", 0


# ---------------------------------------------------------------- judging


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


@command(review_app, "sheets")
def review_sheets(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Option()] = Path("review"),
    readers: Annotated[int | None, typer.Option(min=1, help="How many; default: as the study plans, or 3.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Make blinded sheets for readers, and a key that stays with you."""
    from sciimg.stages.review import sheets_command

    value = sheets_command(run, out, readers)
    return value, "\n".join(value["files"]), 0


@command(review_app, "serve")
def review_serve(
    study: Annotated[Path, typer.Argument(metavar="STUDY|RUN", help="The study's YAML file, or a run folder.")],
    workdir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0: any that is free.")] = 8321,
    readers: Annotated[int | None, typer.Option(min=1, help="How many; default: as the study plans, or 3.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Let readers answer in a browser on this machine; Ctrl-C ends it, the same command goes on. Score the session afterwards."""
    from sciimg.stages.serving import serve_command

    def announce(said: dict[str, Any]) -> None:
        lines = [f"{link['reader']:<12} {link['url']}" for link in said["links"]]
        known = f", {said['answers']} answers so far" if said["answers"] else ""
        told = "One link a reader; it stays valid, and shows nobody else's answers. Ctrl-C ends."
        text = "\n".join([f"Reader study at {said['url']}  ({said['items']} items a reader{known})", *lines, told])
        typer.echo(json.dumps(said, indent=1, ensure_ascii=False) if json_ else text)

    value = serve_command(study, workdir, port=port, readers=readers, announce=announce)
    text = f"Session      {value['session']}\nAnswers      {value['answers']}\nChain head   {value['head']}"
    return None if json_ else value, text, 0


@command(review_app, "score")
def review_score(
    answers: Annotated[list[Path], typer.Argument(help="A session, filled sheets (XLSX, CSV) or a long CSV: reader,item,answer[,truth].")],
    key: Annotated[Path | None, typer.Option(help="The key file of the sheets.")] = None,
    run: Annotated[Path | None, typer.Option(help="Record the score in this run; the next `sciimg run` decides with it.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Score what is there while sheets or answers are missing.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Score a session or filled sheets."""
    from sciimg.review.telling import lines
    from sciimg.stages.review import score_command

    value = score_command(answers, key, run, partial=partial)
    return value, "\n".join(map(printable, lines(value))), 0


# ---------------------------------------------------------------- release


@command(app, "keygen")
def keygen(
    name: Annotated[str, typer.Option(help="Printed name of the signer.")] = "",
    out: Annotated[Path | None, typer.Option(help="Key folder; default: the user's configuration folder.")] = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Do not encrypt the key, and do not ask.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Make a signing key (P-256), encrypted with a passphrase that is typed, or taken from SCIIMG_KEY_PASSPHRASE.

    Whoever audits what you sign needs the file at "policy" (or the public key), by another way than the release. The key itself is yours
    alone; it is never replaced.
    """
    from sciimg.stages.sign import keygen_command

    value = keygen_command(name, out, encrypt=not no_passphrase)
    return value, "\n".join(f"{k:<12} {v}" for k, v in value.items()), 0


@command(app, "sign")
def sign(
    release: Path,
    role: Annotated[str, typer.Option(help="decision or review.")] = "review",
    meaning: Annotated[str, typer.Option(help="What the signature means, in one sentence.")] = "",
    key: Annotated[Path | None, typer.Option(help="Key file, or the folder of `keygen --out`; default: the user's own.")] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Sign inside report.pdf too (PAdES) and attest the decision; before others do.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="For --pdf: of your key, with its issuers; default: your own.")
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Add a signed attestation to a release."""
    from sciimg.stages.sign import sign_command

    value = sign_command(release, role, meaning, key, pdf=pdf, certificate=certificate)
    return value, f"Attestation  {value['attestation']}", 0


@command(app, "timestamp")
def timestamp(
    release: Path,
    signature: Annotated[str, typer.Argument(help="dataset, decision, review, or another file of attestations/.")] = "decision",
    tsa: Annotated[str | None, typer.Option(metavar="URL", help="The time authority to ask.")] = None,
    query: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the query here, to be carried to an authority.")] = None,
    token: Annotated[Path | None, typer.Option(metavar="FILE", help="The authority's answer to that query.")] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Of the authority, with that of its issuer.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Let a time authority (RFC 3161) vouch for when a signature of a release was made."""
    from sciimg.stages.sign import timestamp_command

    value = timestamp_command(release, signature, tsa=tsa, query=query, token=token, certificate=certificate)
    return value, "\n".join(f"{k:<12} {v}" for k, v in value.items()), 0


@command(app, "audit")
def audit(
    release: Path,
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Files may be missing: check those that are here (exit code 3).")] = False,
    payload: Annotated[str | None, typer.Option(metavar="SHA256", help="The payload digest of the release that is meant.")] = None,
    time_authority: Annotated[Path | None, typer.Option(metavar="PEM", help="Believe time tokens of this authority too.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Check a release: bytes, signature, trust policy, decision."""
    from sciimg.stages.sign import audit_command

    value, steps = audit_command(release, trust, partial=partial, payload=payload, certificate=time_authority)
    problems = [printable(f"Fault  {p['where']}: {p['message']} [{p['kind']}]") for p in value["problems"]]
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"... and {len(problems) - _SHOWN} more faults; --json lists all."]
    if part := value.get("partial"):
        verdict = f"{part['verified']} of {part['of']} signed files verified; the release as a whole is NOT VERIFIED"
    else:
        verdict = f"{'Verified' if value['verified'] else 'NOT VERIFIED'}: decision {value['decision']}"
    signers = [printable(f"Signed  {s['person']}, {s['role']}, {s['time']}: {s['meaning']}") for s in value["signers"] if s["meaning"]]
    return value, "\n".join([*map(printable, steps), *signers, *problems, verdict]), 0 if value["verified"] else 3 if part else 1


Policy = Annotated[Path, typer.Argument(metavar="POLICY", help="The trust policy, a JSON file.")]


@command(trust_app, "show")
def trust_show(policy: Policy, json_: Json = False, debug: Debug = False) -> Reply:
    """Print a policy."""
    from sciimg.stages import trust

    value = trust.show(policy)
    return value, trust.words(value), 0


@command(trust_app, "add")
def trust_add(
    policy: Policy,
    key: Annotated[Path, typer.Argument(help="A public key (PEM) that reached you safely, or a whole policy.")],
    person: Annotated[str | None, typer.Option(help="Printed name; default: the one beside the key.")] = None,
    orcid: Annotated[str | None, typer.Option(help="ORCID iD of the person.")] = None,
    roles: Annotated[str | None, typer.Option(help="dataset,decision,review; default: all.")] = None,
    not_before: Annotated[str | None, typer.Option(metavar="DATE", help="First day of the key, YYYY-MM-DD (UTC).")] = None,
    not_after: Annotated[str | None, typer.Option(metavar="DATE", help="Last day of the key.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Believe a person's key; the policy is made where there is none."""
    from sciimg.stages import trust

    value = trust.add(policy, key, person=person, orcid=orcid, roles=roles, not_before=not_before, not_after=not_after)
    return value, trust.words(value), 0


@command(trust_app, "revoke")
def trust_revoke(
    policy: Policy,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The first digits of the key's id.")],
    why: Annotated[str, typer.Option(help="Why, and since when.")],
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Never believe a key again, whatever time it claims."""
    from sciimg.stages import trust

    value = trust.revoke(policy, key_id, why)
    return value, trust.words(value), 0


@command(trust_app, "set")
def trust_set(
    policy: Policy,
    threshold: Annotated[int | None, typer.Option(help="How many persons must have signed the decision.")] = None,
    minimum_version: Annotated[list[str] | None, typer.Option(metavar="DATASET=VERSION", help="Refuse older ones.")] = None,
    time_authority: Annotated[list[Path] | None, typer.Option(metavar="PEM", help="Believe time tokens of this authority.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Change what a policy asks for beyond its keys."""
    from sciimg.stages import trust

    value = trust.change(policy, threshold=threshold, minimum_versions=minimum_version or (), time_authorities=time_authority or ())
    return value, trust.words(value), 0


@command(app, "copy")
def copy(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A collection, release, model or OME-Zarr image.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="Its new place. One of the two is s3://BUCKET/KEY or gs://BUCKET/KEY.")],
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Carry it from a folder to an object store or back: whole, or not there. The same command goes on after an interruption."""
    from sciimg.stages.copy import copy_command

    value = copy_command(source, target)
    return (
        value,
        f"{value['kind']} in {value['to']}: {value['files']} files, {value['bytes']:,} bytes, {value['sent']} sent",
        0,
    )


@command(app, "export")
def export(
    release: Path,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    format: Annotated[str, typer.Option(help="png, tiff, nifti, dicom, bids or huggingface.")],
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Hand out the images of a release in another format, marked synthetic, each value as it was signed; audited first."""
    from sciimg.stages.export import export_command

    value = export_command(release, out, format, trust)
    return value, f"{value['images']} images of {value['dataset']} in {out}: {value['files']} files; its README says how to check them.", 0


@command(app, "watermark")
def watermark(
    path: Annotated[
        Path, typer.Argument(help="An image, a folder of images of one shape, or a collection; pieces and single channels too.")
    ],
    release: Annotated[Path, typer.Option(help="The release that they may come from.")],
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Look for the watermark of a release in images whose files say nothing any more."""
    from sciimg.stages.watermark import watermark_command

    value = watermark_command(path, release, trust)
    lines = [
        f"{'found' if i['found'] else 'no   '}  {printable(i['name'])}  {i['image']} {i['channel']} at {i['offset']}  "
        f"z {i['z']:.1f}, chance at most {i['chance']:.1g}"
        for i in value["images"]
    ]
    number = sum(i["found"] for i in value["images"])
    return value, "\n".join([*lines, f"The mark of {value['release']} is in {number} of {len(lines)} images."]), 0


@command(app, "report")
def report(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|RUNS|STUDY", help="A run, a folder of runs to compare, or a study file with --plan.")
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Render the study itself, before any run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the HTML and the PDF.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Render the audit report of a run, several runs side by side, or a study as its pre-registration."""
    from sciimg.stages.report import report_command

    value = report_command(path, plan=plan, out=out)
    return value, "\n".join(value["files"]), 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(values: list[float]) -> str:
    return " x ".join(f"{v:.6g}" for v in values)


def _noticed(images: list[dict[str, Any]]) -> list[str]:
    """Return a line for each kind of thing that was noticed and left nothing out, with the first message of it."""
    found: dict[str, list[str]] = {}
    for image in images:
        for problem in image["problems"]:
            found.setdefault(problem["kind"], []).append(f"{image['id']}: {problem['message']}")
    return [
        printable(f"Noticed  {told[0]} [{kind}{f', {len(told)} times' if len(told) > 1 else ''}]") for kind, told in sorted(found.items())
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


def _metric_lines(value: dict[str, Any]) -> str:
    lines = []
    for m in sorted(value["metrics"], key=lambda m: m["name"].startswith("control_")):  # what was asked for stands first
        interval = f" [{m['ci95'][0]:.4g}, {m['ci95'][1]:.4g}]" if m.get("ci95") else ""
        lines.append(f"{m['name']:<36} " + (f"{m['value']:.5g}{interval}" if m["status"] == "ok" else f"undefined: {m['reason']}"))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
