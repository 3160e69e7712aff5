"""Look for the watermark of a release in images that came from anywhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem, RefusedError


def watermark_command(path: Path, release: Path, trust: Path | None) -> dict[str, Any]:
    """Search each image for the mark of each image of a release, at every place that a piece may have been cut from.

    Parameters
    ----------
    path : Path
        A file, a folder of images of one shape, or a collection. An image has all channels of the release, or one of them.
    release : Path
        Audited first: its study is the key.

    Returns
    -------
    dict
        ``images``: for each the released image that fits best, the place of its first voxel in it, the score ``z``, and ``chance``, a bound
        on the probability of such a score anywhere in the search without the mark; ``found`` where that is below one in a million.

    Raises
    ------
    InputError
        Kinds ``not-found``, ``no-watermark``, ``other-shape``, and whatever reading the images raises.
    AuditError, RefusedError
        When the release does not verify, or holds no images.
    """
    from sciimg.provenance.audit import audit
    from sciimg.provenance.export.content import Content
    from sciimg.provenance.policy import load_policy
    from sciimg.validation.folders import load_patchset
    from sciimg.watermark import CERTAIN, Match, pattern, score, whitened

    if not release.is_dir():
        raise InputError(Problem(str(release), "not-found", "There is no such folder. Name a release."))
    content = Content.of(release, audit(release, load_policy(trust) if trust else None))
    plan = content.study.release.watermark
    if plan is None:
        message = "Its study asks for no watermark (release.watermark), so there is none to find. Compare files with the signed digests."
        raise InputError(Problem(str(release), "no-watermark", message))
    if content.decision.decision != "accepted":
        raise RefusedError(Problem(str(release), "no-images", "A release without images has no marks to look for."))
    suspects = load_patchset(path)
    pieces = [whitened(image) for image in suspects.images]
    best: list[tuple[Match, str, str] | None] = [None] * len(pieces)
    tried = [0] * len(pieces)
    for row in content.rows:
        signs = pattern(content.study.digest, str(row["id"]), _shape(row))
        choices = _choices(signs, pieces[0].shape, content.channels)
        for i, piece in enumerate(pieces):
            for channel, some in choices:
                match = score(piece, some)
                if match is None:
                    continue
                tried[i] += 1
                known = best[i]
                if known is None or match.z > known[0].z:
                    best[i] = match, str(row["id"]), channel
    out = []
    for name, found, count in zip(suspects.table["name"], best, tried, strict=True):
        if found is None:
            shape = tuple(int(n) for n in suspects.images.shape[1:])
            message = f"A piece is no larger than the images of the release and has their channels, or one; this is {shape}. Cut it."
            raise InputError(Problem(str(path), "other-shape", message))
        match, id, channel = found
        chance = match.chance(count)
        about = {"image": id, "channel": channel, "offset": list(match.offset), "z": match.z, "chance": chance}
        out.append({"name": str(name), "found": chance <= CERTAIN, **about})
    return {"release": content.identity, "payload": content.payload, "alpha": plan.alpha, "images": out}


def _shape(row: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of an image of the catalogue, channels first."""
    shape = tuple(json.loads(row["shape"]))
    return shape if "c" in str(row["axes"]) else (1, *shape)


def _choices(signs: NDArray[np.int8], shape: tuple[int, ...], channels: tuple[str, ...]) -> list[tuple[str, NDArray[np.int8]]]:
    """Return which channels of the pattern an image of this shape may show: all, or any one."""
    if len(shape) != signs.ndim:
        return []
    if shape[0] == signs.shape[0]:
        return [("all", signs)]
    return [(name, signs[i : i + 1]) for i, name in enumerate(channels)] if shape[0] == 1 else []
