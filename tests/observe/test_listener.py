from tqmisp.observe.listener import Listener, Silent


class _Events(Listener):
    def __init__(self) -> None:
        self.numbers: list[int | None] = []

    def on_event_created(self, number: int | None) -> None:
        self.numbers.append(number)


def test_a_listener_hears_only_what_it_asks_for() -> None:
    """A class that defines one call can be given all of them."""
    listener = _Events()
    listener.on_selected(3)
    listener.on_event_created(5230)
    listener.on_slice_stored(3, 0)
    assert listener.numbers == [5230]


def test_silence_is_a_listener() -> None:
    """The default takes every call."""
    listener: Listener = Silent()
    listener.on_misp_ready()
    listener.on_event_created(1)
    assert isinstance(listener, Silent)
