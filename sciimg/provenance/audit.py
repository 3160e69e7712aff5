"""The audit of a release: numbered steps, each of which says what it looked at, and every fault that was found.

1. The folder is a release and holds nothing else.
2. The dataset's statement is signed, once, by a key that the trust policy believes.
3. Every byte of ``dataset/`` is as signed, under the name that was signed, and nothing else lies there.
4. The study in it is sound, is the dataset that the signature names, has not expired, and is not older than the policy accepts.
5. Enough trusted persons have signed the decision, about this payload and no other.
6. The decision follows again from the signed evidence by the gates of the signed study, and the scores of readers from their readings.
7. The dataset holds what its decision allows: images that are all marked synthetic, or none.
8. The reports are the ones that were signed, and cite this payload.

Nothing is read out of the dataset before step 3 has passed for it, and nothing that a release says about itself decides whom to believe.
Of a partial download, what is there is checked in the same way; it is never verified as a whole.
"""

import datetime
from collections.abc import Callable
from pathlib import Path

from sciimg.errors import Problem, RemoteError, SciimgError, StorageError
from sciimg.provenance.auditing import contents, files, signers
from sciimg.provenance.auditing.case import DATASET, Audit, Case, NotCheckedError, Outcome, Signer
from sciimg.provenance.policy import TrustPolicy, own_policy
from sciimg.records import Digest

__all__ = ["DATASET", "Audit", "Signer", "audit"]


def audit(
    release: Path,
    policy: TrustPolicy | None = None,
    *,
    partial: bool = False,
    payload: Digest | None = None,
    now: datetime.datetime | None = None,
) -> Audit:
    """Check a release against a trust policy.

    Parameters
    ----------
    release : Path
        A release folder, or a prefix of an object store; each object is read as a stream.
    policy : TrustPolicy, optional
        Default: the user's own, see :func:`sciimg.provenance.policy.own_policy`.
    partial : bool
        Whether files may be missing, as after a partial download; steps that need a missing one are not made then.
    payload : Digest, optional
        The payload digest of the release that is meant, from a paper say; any other release is refused.
    now : datetime, optional
        The moment at which keys must be valid.
    """
    case = Case(release, own_policy() if policy is None else policy, now or datetime.datetime.now(datetime.UTC), partial, payload)
    result = Audit()
    for number, (title, step) in enumerate(_STEPS, 1):
        try:
            said, problems = step(case, result)
        except NotCheckedError as reason:
            result.unchecked += 1
            result.steps.append(f"{number}  not checked  {title}: {reason}.")
            continue
        except (RemoteError, StorageError):  # a store that cannot be asked says nothing about the release
            raise
        except SciimgError as error:
            said, problems = "", list(error.problems)
        except OSError as error:
            message = f"Every file of a release can be read ({error.strerror or error}). Get the release again from its source."
            said, problems = "", [Problem(str(error.filename or case.release), "unreadable", message)]
        result.problems += problems
        mark = f"FAULT ({len(problems)})" if problems else "ok"
        result.steps.append(f"{number}  {mark:<11}  {title}{': ' + said if said else ''}.")
    if case.decision is not None:
        result.decision = case.decision.decision
    return result


_STEPS: tuple[tuple[str, Callable[[Case, Audit], Outcome]], ...] = (
    ("The folder is a release and holds nothing else", files.layout),
    ("The dataset is signed by a trusted key", files.signature),
    ("Every byte and name in dataset/ is as signed", files.whole),
    ("The study is that of this dataset", signers.about),
    ("Enough trusted persons signed the decision on this payload", signers.attested),
    ("The decision follows from the signed evidence", contents.decided),
    ("The dataset holds what the decision allows", contents.held),
    ("The reports are those that were signed", contents.reported),
)
