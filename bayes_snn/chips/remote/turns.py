"""Who is next: requests of several clients, one of each in turn."""

from __future__ import annotations

from collections import OrderedDict, deque


class Turns[T]:
    """Queues of clients, served round robin: a client that has been served goes behind all others that wait.

    Parameters
    ----------
    most_waiting
        Requests that may wait for one client.
    """

    def __init__(self, most_waiting: int) -> None:
        self.most_waiting = most_waiting
        self._queues: OrderedDict[bytes, deque[T]] = OrderedDict()  # of clients with something to do, the next first

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, client: bytes, request: T) -> bool:
        """Let a request wait its turn; False where too many wait for this client already."""
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self.most_waiting:
            return False
        queue.append(request)
        return True

    def next(self) -> tuple[bytes, T] | None:
        """The next client and its oldest request."""
        if not self._queues:
            return None
        client, queue = self._queues.popitem(last=False)
        request = queue.popleft()
        if queue:
            self._queues[client] = queue
        return client, request

    def forget(self, client: bytes) -> list[T]:
        """Drop what waits for a client, and give it back."""
        return list(self._queues.pop(client, ()))
