"""Pictures that are decoded at once, by several threads, take no more than the room there is."""

import threading
from concurrent.futures import ThreadPoolExecutor

from omni_batch.requests.media.room import PixelRoom


def test_no_more_is_inside_than_there_is_room_for() -> None:
    room, inside, most, guard = PixelRoom(100), 0, 0, threading.Lock()

    def decode(pixels: int) -> None:
        nonlocal inside, most
        with room.hold(pixels):
            with guard:
                inside += pixels
                most = max(most, inside)
            with guard:
                inside -= pixels

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(decode, [1, 30, 40, 99, 100] * 200))
    assert 0 < most <= 100


def test_what_is_larger_than_the_room_is_alone_in_it() -> None:
    room, entered = PixelRoom(100), threading.Event()

    def other() -> None:
        with room.hold(1):
            entered.set()

    with room.hold(1_000):
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()


def test_a_picture_that_fails_leaves_its_room() -> None:
    room = PixelRoom(100)
    for _ in range(3):
        try:
            with room.hold(100):
                raise ValueError
        except ValueError:
            pass
    with room.hold(100):
        pass
