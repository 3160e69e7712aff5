"""A small reader study to be read at the screen: tissue or a block of the brain template, served by a process that can be killed.

``python tests/support/reading.py FOLDER TASK KIND PORT`` serves it and prints its links as JSON: ``{"url", "links"}``.
"""

import http.client
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sciimg.protocol.validation import Criterion, ReviewPlan
from sciimg.review.book import Book
from sciimg.review.exhibit import Exhibit
from sciimg.review.items import draw_session
from sciimg.review.presentation import presentation_of
from sciimg.review.server import application, listen, serve
from sciimg.types import PatchSet, Spacing

KEY = ("reading", "test")
CRITERIA = (
    Criterion(name="sharpness", question="How sharp is the image?"),
    Criterion(name="plausibility", question="How plausible is the anatomy?", anchors=("not at all", "hardly", "fairly", "fully")),
)
ARTEFACTS = ("ringing", "seams", "repeated-texture")


def plan_of(task="yes-no", **more):
    return ReviewPlan(task=task, **({"readers": 2, "items": 8, "catch_pairs": 1, "criteria": CRITERIA, "artefacts": ARTEFACTS} | more))


def patches(kind="tissue"):
    """Return real images and ones that play synthetic, both uint16: 60 of noise, 32 of tissue, or 12 blocks of brain of 2 x 1 x 1 mm."""
    if kind == "noise":
        pixels = np.random.default_rng(1).integers(0, 65536, (2, 60, 1, 12, 16), dtype=np.uint16)
        (real, made), spacing, channels = pixels, Spacing((1.0, 1.0), "pixel"), ("grey",)
    elif kind == "tissue":
        from report_run import tissue
        from scipy import ndimage

        images = tissue()[0]
        real, made = images[:32], np.rint(ndimage.gaussian_filter(images[32:].astype(float), (0, 0, 0.7, 0.7))).astype(np.uint16)
        spacing, channels = Spacing((0.5, 0.5), "micrometer"), ("haematoxylin", "dab")
    else:
        import nibabel
        import nilearn
        from scipy import ndimage

        path = Path(nilearn.__file__).parent / "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
        whole = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
        corners = [(z, y, x) for z in (20, 40) for y in (20, 50, 80, 110) for x in (20, 45, 70)]
        volume = np.ascontiguousarray(whole.transpose(2, 1, 0)[::2, ::-1])  # z, y, x; every second slice
        blocks = [volume[z : z + 40, y : y + 64, x : x + 64] for z, y, x in corners]
        images = np.rint(np.stack(blocks)[:, None] * (4000 / volume.max())).astype(np.uint16)
        real, made = images[::2], np.rint(ndimage.gaussian_filter(images[1::2].astype(float), (0, 0, 0.4, 0.8, 0.8))).astype(np.uint16)
        spacing, channels = Spacing((2.0, 1.0, 1.0), "millimeter"), ("t1",)
    return tuple(_set(pixels, spacing, channels, name) for pixels, name in ((real, "holdout-secret"), (made, "ldm-secret")))


def _set(images, spacing, channels, name):
    names = [f"{name}-{i}" for i in range(len(images))]
    return PatchSet(images, None, np.array(names), pd.DataFrame({"image": names, "origin": ["[0]"] * len(names)}), spacing, channels)


def study(folder, plan, kind="tissue", **more):
    """Return (book, exhibit) of a session in a folder, the same whenever it is asked for."""
    real, made = patches(kind)
    show = presentation_of(real.images, real.channels, real.spacing)
    drawn = draw_session(real, made, plan, [f"reader-{n}" for n in range(1, plan.readers + 1)], KEY)
    exhibit = Exhibit(drawn.pictures, show)
    return Book(Path(folder) / "session.sqlite", drawn.key, exhibit.digest, **more), exhibit


class Server:
    """A reader study served by a process of its own."""

    def __init__(self, folder, task="yes-no", kind="tissue", port=0, **more):
        self._words = [sys.executable, __file__, str(folder), task, kind, str(port), json.dumps(more)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._words, stdout=subprocess.PIPE, text=True)
        self.links = json.loads(self.process.stdout.readline())
        self._words[5] = self.links[0].split(":")[2].split("/")[0]  # the same port again

    def kill(self):
        self.process.kill()
        self._end()

    def stop(self):
        self.process.terminate()
        self._end()

    def _end(self):
        self.process.wait(20)
        self.process.stdout.close()


def whole(session, item, **more):
    """Return a whole answer to an item as the page would send it."""
    given = {q["column"]: q["choices"][0] for q in session["questions"] if q["required"]}
    return {"item": item, "seconds": "4.2", **given, **more}


def client_of(link, answers=None, choose=lambda item: {}):
    """Answer as the page does, over one connection; return the items whose answer was confirmed."""
    host, token = re.fullmatch(r"http://(.*)/#(.*)", link).groups()
    connection, kept = http.client.HTTPConnection(host, timeout=30), []
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("GET", "/api/session", headers=headers)
        session = json.loads(connection.getresponse().read())
        place = session["place"]
        while place["now"] and (answers is None or len(kept) < answers):
            item = place["now"]
            connection.request("POST", "/api/answers", json.dumps(whole(session, item, comment=f"about {item}", **choose(item))), headers)
            reply = connection.getresponse()
            place = json.loads(reply.read())
            assert reply.status == 200, place
            kept.append(item)
    except (ConnectionError, http.client.HTTPException):
        pass  # the server was killed
    finally:
        connection.close()
    return kept


def main(folder, task, kind, port, more="{}"):
    criteria = json.loads(more)
    plan = plan_of(task, **criteria)
    with listen(int(port)) as place:
        book, exhibit = study(folder, plan, kind)
        tokens = {reader: f"{reader}-secret" for reader in book.key.readers}
        print(json.dumps([f"http://127.0.0.1:{place.getsockname()[1]}/#{token}" for token in tokens.values()]), flush=True)
        serve(application(book, exhibit, tokens, "Reader study: example"), place)
        book.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
