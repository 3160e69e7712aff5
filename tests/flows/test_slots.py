"""Heavy stages wait for a place; the longest go first, and never more run than there are places."""

import threading
import time

from flows.slots import Slots


def test_never_more_than_the_places_and_first_of_the_plan_first() -> None:
    names = ["a", "b", "c", "d"]
    slots, running, most, order = Slots(2, names, settle_s=0.05), [0], [0], []
    gate = threading.Event()
    lock = threading.Lock()

    def work(name: str) -> None:
        with slots.taken(name):
            with lock:
                order.append(name)
                running[0] += 1
                most[0] = max(most[0], running[0])
            gate.wait(10)
            time.sleep(0.02)
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=work, args=(n,)) for n in ("d", "c")]
    [t.start() for t in threads]
    while len(order) < 2:
        time.sleep(0.005)
    later = [threading.Thread(target=work, args=(n,)) for n in ("b", "a")]
    [t.start() for t in later]
    time.sleep(0.1)
    gate.set()
    [t.join(10) for t in threads + later]
    assert most[0] == 2
    assert order[2] == "a"


def test_stages_that_become_ready_together_start_in_the_order_of_the_plan() -> None:
    slots, order = Slots(1, ["a", "b", "c"], settle_s=0.2), []

    def work(name: str) -> None:
        with slots.taken(name):
            order.append(name)

    threads = [threading.Thread(target=work, args=(n,)) for n in ("c", "b", "a")]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    [t.join(10) for t in threads]
    assert order == ["a", "b", "c"]
