"""How much energy a stage takes: codecarbon's estimate where it is installed, else the processor's own counters where they may be read.

Nothing is asked of any network: codecarbon runs in its offline mode, writes no file and reports to nobody, and only its energy is used,
because what a watt-hour emits depends on where it came from, which a study does not know.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

ADVICE = 'Install codecarbon with `pip install "sciimg[energy]"`, or let this user read the counters.'
_POWERCAP, _STAT = Path("/sys/class/powercap"), Path("/proc/stat")


class Energy(Protocol):
    """One way to know: its name, the watt-hours so far, or why there are none."""

    @property
    def name(self) -> str | None: ...

    def wh(self, cpu_s: float) -> tuple[float | None, str]:
        """Return the watt-hours since the beginning and an empty text, or None and why.

        Parameters
        ----------
        cpu_s : float
            Processor seconds that the stage has used, counted from any moment before it began.
        """
        ...

    def stop(self) -> None:
        """Count no more."""
        ...


def energy_meter(powercap: Path = _POWERCAP, stat: Path = _STAT) -> Energy:
    """Return the best way that this machine has, begun."""
    if importlib.util.find_spec("codecarbon") is not None and (tracker := _CodeCarbon.begun()) is not None:
        return tracker
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _counted(zone) and _read(zone / "energy_uj") is not None]
    return Rapl(zones, stat) if zones else _Nothing(powercap)


class _Nothing:
    name = None

    def __init__(self, powercap: Path) -> None:
        there = any(powercap.glob("intel-rapl:*"))
        counters = "this user may not read the processor's energy counters" if there else "this machine shows no energy counters"
        self._why = f"{counters}, and codecarbon is not installed. {ADVICE}"

    def wh(self, cpu_s: float) -> tuple[float | None, str]:
        return None, self._why

    def stop(self) -> None:
        pass


class Rapl:
    """Counters of the processor and its memory (RAPL), which AMD's processors have under the same name.

    They count for the whole machine. A stage is given the share that its processor time has in that of all processes, so that stages that
    run side by side share what was used, and add up to no more.

    References
    ----------
    https://www.kernel.org/doc/html/latest/power/powercap/powercap.html
    """

    name = "RAPL counters, by share of the processor's time"

    def __init__(self, zones: list[Path], stat: Path) -> None:
        self._zones, self._stat = zones, stat
        self._last = [_read(zone / "energy_uj") or 0 for zone in zones]
        self._busy = _busy_ticks(stat)
        self._cpu_s: float | None = None
        self._wh = 0.0

    def wh(self, cpu_s: float) -> tuple[float | None, str]:
        now, busy = [_read(zone / "energy_uj") for zone in self._zones], _busy_ticks(self._stat)
        if any(value is None for value in now):
            return None, "the processor's energy counters could no longer be read"
        if self._cpu_s is None:  # the first word on the stage's own time: what came before it is not known
            self._cpu_s = cpu_s
        joule = 0.0
        for zone, before, after in zip(self._zones, self._last, now, strict=True):
            assert after is not None
            turned = (_read(zone / "max_energy_range_uj") or 0) if after < before else 0  # the counter begins again at zero
            joule += (after - before + turned) / 1e6
        own, all_of_it = cpu_s - self._cpu_s, (busy - self._busy) / _TICKS
        if all_of_it > 0:
            self._wh += joule / 3600 * min(1.0, max(0.0, own / all_of_it))
            self._last, self._busy, self._cpu_s = [value or 0 for value in now], busy, cpu_s
        return self._wh, ""

    def stop(self) -> None:
        pass


_TICKS = 100.0  # USER_HZ, in which /proc/stat counts on every machine that Linux runs on


def _counted(zone: Path) -> bool:
    """Whether a zone is a processor package or memory: cores lie inside packages, and would count twice."""
    with suppress(OSError):
        name = (zone / "name").read_text(encoding="ascii").strip()
        return name.startswith("package") or name == "dram"
    return False


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _busy_ticks(stat: Path) -> int:
    """Return how long all processors together have worked: user, nice, system, interrupts; not idle, not waiting; see proc(5)."""
    fields = [int(v) for v in stat.read_text(encoding="ascii").splitlines()[0].split()[1:]]
    return sum(fields[:3]) + sum(fields[5:7])


class _CodeCarbon:
    """codecarbon, offline, for this process and its children."""

    def __init__(self, tracker: Any, heard: Any, version: str) -> None:
        self._tracker, self._heard = tracker, heard
        self.name = f"codecarbon {version}, an estimate from load and kind of processor unless it may read counters"

    @classmethod
    def begun(cls) -> "_CodeCarbon | None":
        """Return a tracker that has begun, or None where it cannot: a stage does not fail for its bookkeeping."""
        with suppress(Exception), _silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from codecarbon import OfflineEmissionsTracker, __version__
            from codecarbon.output_methods.base_output import BaseOutput

            class Heard(BaseOutput):  # type: ignore[misc]
                wh = 0.0

                def out(self, total: Any, delta: Any) -> None:
                    self.wh = total.energy_consumed * 1000

            heard = Heard()
            tracker = OfflineEmissionsTracker(
                tracking_mode="process",
                output_methods=[],
                output_handlers=[heard],
                emissions_endpoint=None,
                electricitymaps_api_token="",  # no token of a user's configuration: with one, a service would be asked
                force_carbon_intensity_g_co2e_kwh=0,  # what it emits is not asked
                log_level="critical",
                allow_multiple_runs=True,
            )
            tracker.start()
            tracker.flush()
            return cls(tracker, heard, __version__)
        return None

    def wh(self, cpu_s: float) -> tuple[float | None, str]:
        with suppress(Exception), _silent():
            self._tracker.flush()
        return self._heard.wh, ""

    def stop(self) -> None:
        with suppress(Exception), _silent():
            self._tracker.stop()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep its words, which are for those who called it themselves, out of the log of a stage."""
    logger = logging.getLogger("codecarbon")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
