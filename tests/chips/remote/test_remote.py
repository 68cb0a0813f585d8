"""A chip behind a server: the same answers, turns for all, and a server that outlives whatever it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import pickle
import re
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import zmq
import zmq.auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_snn.chips.by_name import find_chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.link import Link
from bayes_snn.chips.remote.address import is_local, split_address
from bayes_snn.chips.remote.client import RemoteChip
from bayes_snn.chips.remote.handshake import make_keys, read_keys
from bayes_snn.chips.remote.server import Server
from bayes_snn.chips.remote.turns import Turns
from bayes_snn.chips.remote.wire import Message, WireError, decode, encode
from bayes_snn.errors import ChipError, InputError, LinkError
from bayes_snn.inference.fit import fit
from tests.helpers.fits import same_draws
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip
from tests.helpers.unit_scales import unit_spec

WEIGHTS = [np.array([[1.0, -1.0]])]
LONG = 60_000  # ms
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


class ScriptedChip(SigmoidChip):
    """Does what the next of `script` says, with the right counts; remembers the inputs it was shown."""

    def __init__(self, *script):
        super().__init__()
        self.script, self.shown = list(script), []

    def run(self, weights, inputs):
        self.shown.append(inputs)
        counts = super().run(weights, inputs)
        return self.script.pop(0)(counts) if self.script else counts


def raising(error):
    def fail(counts):
        raise error

    return fail


@contextlib.contextmanager
def serving(chip, **options):
    """A server that runs in a thread; its log is in `server.lines`."""
    lines = []
    with Server(chip, log=lines.append, **options) as server:
        server.lines = lines
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


@contextlib.contextmanager
def raw_client(server, token=None, identity=None):
    """A bare socket."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        if token is not None:
            dealer.plain_username, dealer.plain_password = b"bayes_snn", token
        if identity is not None:
            dealer.setsockopt(zmq.IDENTITY, identity)
        dealer.connect(server.address)
        yield dealer


def answer(dealer):
    assert dealer.poll(LONG)
    return decode(dealer.recv_multipart())


def small_fit(chip, sampler="block", **options):
    return fit(
        chip,
        INPUTS,
        LABELS,
        sampler=sampler,
        **{"draws": 2, "tune": 1, "chains": 2, "cores": 1, **options},
    )


# ---- the same chip


def test_a_remote_chip_answers_as_the_chip_does():
    chip = LIFChip((5, 4, 3), "comparator", 3.0, n_steps=20)
    rng = np.random.default_rng(0)
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        assert remote.spec == chip.spec
        assert remote.copyable
        for n in (7, 1, 40):
            inputs = rng.normal(size=(n, 5))
            for _ in range(3):
                weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
                counts = remote.run(weights, inputs)
                np.testing.assert_array_equal(counts, chip.run(weights, inputs))
                assert counts.dtype == np.int32
        remote.close()


@forks
@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("sampler", ["block", "sitewise"])
def test_a_fit_draws_the_same(sampler, cores):
    with serving(SigmoidChip()) as server:
        remote = Link(RemoteChip(server.address), timeout=None)
        result = small_fit(remote, sampler, cores=cores)
        assert result.faults == {}
    assert same_draws(result, small_fit(SigmoidChip(), sampler))


def test_inputs_are_sent_once_and_again_when_they_have_changed():
    chip = ScriptedChip()
    inputs, changed = np.array(INPUTS), np.array(INPUTS)
    changed[0, 0] += 1.0
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        for _ in range(3):
            remote.run(WEIGHTS, inputs)
        remote.run(WEIGHTS, changed)
        inputs[0, 0] = 9.0  # in place
        remote.run(WEIGHTS, inputs)
        remote.run(WEIGHTS, changed)
    ids = [id(shown) for shown in chip.shown]
    assert len(set(ids)) == 3
    assert ids[0] == ids[1] == ids[2]
    assert ids[3] == ids[5]
    assert chip.shown[4][0, 0] == 9.0
    assert all(not shown.flags.writeable for shown in chip.shown)


def test_inputs_that_the_server_has_forgotten_are_sent_again(monkeypatch):
    monkeypatch.setattr("bayes_snn.chips.remote.server.MOST_KNOWN_INPUTS", 1)
    chip, other = ScriptedChip(), np.array(INPUTS) + 1.0
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        for inputs in (INPUTS, other, INPUTS, other):
            counts = remote.run(WEIGHTS, inputs)
            np.testing.assert_array_equal(counts, SigmoidChip().run(WEIGHTS, inputs))
    assert chip.runs == 4


def test_what_a_chip_can_do_is_passed_on():
    chip = SigmoidChip()
    chip.subsets = True
    with serving(chip) as server:
        assert RemoteChip(server.address).subsets
    noisy = LIFChip((3, 2), "noise", 0.3)
    with serving(noisy) as server:
        remote = RemoteChip(server.address)
        assert not remote.spec.deterministic
        assert not remote.subsets
        assert not hasattr(remote, "restart_noise")


def test_copies_connect_anew_and_tokens_are_not_shown():
    with serving(SigmoidChip(), token="secret") as server:
        remote = RemoteChip(server.address, "secret")
        expected = remote.run(WEIGHTS, INPUTS)
        for copied in (copy.deepcopy(remote), pickle.loads(pickle.dumps(remote))):
            np.testing.assert_array_equal(copied.run(WEIGHTS, INPUTS), expected)
        assert "secret" not in repr(remote)


# ---- faults of the chip and of the connection


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (raising(ConnectionResetError("cable out")), ConnectionError, "cable out"),
        (raising(ChipError("The checksum is wrong.")), ChipError, "checksum"),
        (lambda counts: counts[:-1], ChipError, r"shape \(5, 2\)"),
        (lambda counts: counts * np.nan, ChipError, "NaN"),
        (lambda counts: counts + 100, ChipError, "12 steps"),
        (raising(InputError("The weights are odd.")), InputError, "odd"),
        (raising(TypeError("no such argument")), InputError, "TypeError: no such argument: fix the chip's driver"),
    ],
)
def test_faults_of_the_served_chip_are_told(fault, kind, says):
    with serving(ScriptedChip(fault)) as server:
        remote = RemoteChip(server.address)
        with pytest.raises(kind, match=says) as error:
            remote.run(WEIGHTS, INPUTS)
        assert "\n" not in str(error.value)
        np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), SigmoidChip().run(WEIGHTS, INPUTS))


@pytest.mark.parametrize(
    ("weights", "inputs", "says"),
    [
        ([np.ones((2, 2))], INPUTS, "shapes"),
        ([np.array([[np.nan, 1.0]])], INPUTS, "NaN"),
        (WEIGHTS, INPUTS * np.inf, "must be finite"),
        (WEIGHTS, np.ones((3, 2)), r"expects \(n_samples, 1\)"),
        (WEIGHTS, np.ones((0, 1)), "at least one"),
        (WEIGHTS * 2, INPUTS, "malformed"),
    ],
)
def test_what_a_chip_cannot_take_is_refused(weights, inputs, says):
    chip = ScriptedChip()
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        with np.errstate(invalid="ignore"), pytest.raises(InputError, match=says):
            remote.run(weights, inputs)
        assert chip.runs == 0
        remote.run(WEIGHTS, INPUTS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_server():
    with pytest.raises(ConnectionRefusedError, match="start one with python"):
        RemoteChip(f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="start one"):
        find_chip(f"tcp://127.0.0.1:{free_port()}")


def test_a_listener_that_is_no_server():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(TimeoutError, match="no answer"):
            RemoteChip(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2)


@pytest.mark.parametrize(
    "address",
    [
        *["", "127.0.0.1:5555", "tcp://", "tcp://host", "tcp://host:port", "tcp://h:99999", "http://h:80", 5, "ipc://"],
        *[
            "tcp://a..b:80",
            f"tcp://{'a' * 64}:80",
            "tcp://h\0:80",
            "tcp://h:\u0665",
            "tcp://\udc80:80",
            "ipc:///tmp/\0",
        ],
        *["tcp://[::1:80", "tcp://[::g]:80", "tcp://[127.0.0.1]:80", "tcp://::1:80", "tcp://h:80/", "tcp://h:80 "],
    ],
)
def test_addresses_that_are_refused(address):
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        RemoteChip(address)


ADDRESSES = st.builds(
    "{}{}{}".format, st.sampled_from(["tcp://", "ipc://", ""]), st.text(max_size=9), st.sampled_from([":9", ":*", ""])
)


@settings(deadline=None, max_examples=300)
@given(ADDRESSES)
def test_any_address_is_split_or_refused(address):
    parts = split_address(address)
    is_local(address)
    assert parts is None or 0 <= parts[1] < 2**16
    if parts is None:
        for use in (RemoteChip, lambda text: Server(SigmoidChip(), text)):
            with pytest.raises(InputError, match="tcp://HOST:PORT"):
                use(address)


def test_paths_that_nobody_can_connect_to(tmp_path):
    for path in (f"{tmp_path}/none", f"{tmp_path}/{'x' * 300}", "@no-such-name"):
        with pytest.raises(ConnectionRefusedError, match="No server answers"):
            RemoteChip(f"ipc://{path}")
    with serving(SigmoidChip(), bind=f"ipc://{tmp_path}/chip", token="secret") as server:
        RemoteChip(server.address, "secret").run(WEIGHTS, INPUTS)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this computer has no IPv6")
@pytest.mark.parametrize(
    ("bind", "hosts"),
    [("tcp://[::1]:*", ["::1"]), ("tcp://[::1]:*", ["127.0.0.1", "::1"]), ("tcp://127.0.0.1:*", ["::1", "127.0.0.1"])],
)
def test_a_host_s_name_stands_for_all_its_addresses(bind, hosts, monkeypatch):
    look_up = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        known = hosts if host == "lab.example" else [host]
        return [found for each in known for found in look_up(each, *arguments, **options)]

    with serving(SigmoidChip(), bind=bind) as server:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        remote = RemoteChip(f"tcp://lab.example:{server.address.rpartition(':')[2]}", timeout=30.0)
        np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), SigmoidChip().run(WEIGHTS, INPUTS))


@pytest.mark.parametrize("timeout", [0, -1, True, "5", np.nan, np.inf])
def test_timeouts_that_are_refused(timeout):
    with pytest.raises(InputError, match="timeout was"):
        RemoteChip("tcp://127.0.0.1:1", timeout=timeout)


def test_a_run_that_takes_too_long_is_given_up_and_its_answer_never_taken():
    gate = threading.Event()

    def hang(counts):
        assert gate.wait(60)
        return counts * 0

    with serving(ScriptedChip(hang)) as server:
        remote = RemoteChip(server.address, timeout=60.0)
        remote.timeout = 0.1
        with pytest.raises(TimeoutError, match="no answer within"):
            remote.run(WEIGHTS, INPUTS)
        remote.timeout = 60.0
        gate.set()
        np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), SigmoidChip().run(WEIGHTS, INPUTS))


def test_answers_to_other_requests_are_dropped():
    # a server that answers each run with a wrong request first
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        right = SigmoidChip().run(WEIGHTS, INPUTS).astype(np.int32)

        def serve():
            for _ in range(2):
                client, *frames = router.recv_multipart()
                request = decode(frames).request
                if decode(frames).kind == "hello":
                    fields = {"spec": {"layers": [1, 2], "n_steps": 12}, "max_bytes": 2**20}
                    router.send_multipart([client, *encode(Message("chip", request, fields))])
                else:
                    for number, counts in ((request - 1, right * 0), (request, right)):
                        router.send_multipart([client, *encode(Message("counts", number, arrays=(counts,)))])

        thread = threading.Thread(target=serve)
        thread.start()
        remote = RemoteChip(f"tcp://127.0.0.1:{port}")
        np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), right)
        thread.join()


def test_a_server_that_comes_back_and_one_with_another_chip():
    with serving(SigmoidChip()) as server:
        address = server.address
        remote = RemoteChip(address)
        link = Link(remote, timeout=None, retries=2, wait=0.0, patience=0.0)
        expected = link.run(WEIGHTS, INPUTS)
    remote.timeout = 0.1
    with pytest.raises(LinkError):
        link.run(WEIGHTS, INPUTS)
    assert {fault.kind for fault in link.faults.records} == {"timeout", "dropped"}
    remote.timeout = 60.0
    with serving(SigmoidChip(), bind=address):
        np.testing.assert_array_equal(link.run(WEIGHTS, INPUTS), expected)
    remote.close()
    with serving(SigmoidChip(n_steps=13), bind=address), pytest.raises(InputError, match=r"n_steps=13.* now"):
        link.run(WEIGHTS, INPUTS)


# ---- who is let in


@pytest.mark.parametrize("token", [None, "", "Secret", "secre", "secret ", "geheim\u00e4\udc80"])
def test_a_wrong_token_is_refused_and_the_server_lives_on(token):
    with serving(SigmoidChip(), token="secret") as server:
        with pytest.raises(InputError, match="token is wrong or missing") as error:
            RemoteChip(server.address, token)
        assert "give the server's token" in str(error.value)
        # who has none does not even try; a refusal is logged by a thread of its own, at last when the server ends
        tried = bool(token)
    assert server.refused == ({"token": 1} if tried else {})
    assert server.lines == ["Refused, 1 so far (token): The token is wrong or missing."] * tried
    with serving(SigmoidChip(), token="secret") as server:
        with pytest.raises(InputError, match="token"):
            find_chip(server.address, token)
        RemoteChip(server.address, "secret").run(WEIGHTS, INPUTS)


def test_every_message_must_show_the_token():
    chip = SigmoidChip()
    with serving(chip, token="secret") as server, raw_client(server, b"secret") as dealer:
        for kind in ("hello", "run", "bye", "other"):
            dealer.send_multipart(encode(Message(kind, 5, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
            reply = answer(dealer)
            assert (reply.kind, reply.request, reply.fields["code"]) == ("error", 5, "token")
    assert chip.runs == 0


def test_without_a_token_only_this_machine_is_served():
    for bind in ("tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://10.0.0.7:5555", "tcp://eth0:5555", "tcp://[::]:5555"):
        assert not is_local(bind)
        with pytest.raises(InputError, match="there is no token"):
            Server(SigmoidChip(), bind)
    for bind in ("tcp://127.0.0.1:*", "tcp://localhost:5555", "tcp://[::1]:5555", "ipc:///tmp/chip"):
        assert is_local(bind)
    with pytest.raises(InputError, match="empty"):
        Server(SigmoidChip(), token="")
    with Server(SigmoidChip(), "tcp://0.0.0.0:*", token="secret", log=print) as server:
        assert server.address.startswith("tcp://0.0.0.0:")


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:99999", "nonsense", "tcp://127.0.0.1", "udp://127.0.0.1:5555"])
def test_addresses_that_cannot_be_bound(bind):
    with pytest.raises(InputError, match=r"tcp://HOST:PORT"):
        Server(SigmoidChip(), bind)
    with pytest.raises(InputError, match="cannot be bound"):
        Server(SigmoidChip(), "tcp://no-such-host.invalid:5555", token="secret")


def test_an_address_in_use():
    with (
        Server(SigmoidChip(), log=print) as server,
        pytest.raises(InputError, match="in use"),
    ):
        Server(SigmoidChip(), server.address)


def test_an_oversized_message_is_refused_and_the_server_lives_on():
    chip = SigmoidChip()
    with serving(chip, max_bytes=20_000) as server:
        remote = RemoteChip(server.address)
        with pytest.raises(InputError, match="at most 20,000"):  # it does not even send it
            remote.run(WEIGHTS, np.ones((5_000, 1)))
        with raw_client(server) as dealer:
            # each frame is within the limit, the message is not
            dealer.send_multipart([b"{}", *[bytes(15_000)] * 2])
            assert answer(dealer).fields["code"] == "too-large"
            # a frame that is not is never read: the connection is cut
            dealer.send_multipart([b"{}", bytes(10**6)])
            dealer.send_multipart(encode(Message("hello", 7)))
            remote.run(WEIGHTS, INPUTS)
        assert server.refused["too-large"] == 1
    assert chip.runs == 1


@pytest.fixture(scope="module")
def live():
    with serving(SigmoidChip(), token="secret") as server, raw_client(server, b"secret") as dealer:
        yield server, dealer


def frames_of(kind, fields, arrays):
    return [bytes(frame) for frame in encode(Message(kind, 1, {"token": "secret", **fields}, arrays))]


VALUES = st.integers(-2, 2) | st.text(max_size=3) | st.none()
SOME_ARRAYS = st.sampled_from([WEIGHTS[0], INPUTS, np.ones(3), np.zeros((0, 2)), np.ones((1, 2), "<i4")])
FRAMES = st.one_of(
    st.lists(st.binary(max_size=60), min_size=1, max_size=4),
    st.builds(
        frames_of,
        st.sampled_from(["run", "counts", "chip", "error", "x"]),
        st.dictionaries(st.sampled_from(["inputs", "spec", "x"]), VALUES),
        st.lists(SOME_ARRAYS, max_size=4),
    ),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FRAMES)
def test_whatever_it_is_sent_a_server_answers_and_lives_on(live, frames):
    server, dealer = live
    dealer.send_multipart(frames)
    first = answer(dealer)
    assert first.kind in ("error", "counts")
    dealer.send_multipart(encode(Message("hello", 77, {"token": "secret"})))
    assert answer(dealer).request == 77
    assert len(server.lines) < 60  # a flood of refusals is told by powers of two


def test_a_refused_message_is_malformed_or_named(live):
    _, dealer = live
    for frames, code in (
        ([b"no json"], "malformed"),
        ([b'{"schema": "bayes_snn/9", "kind": "run"}'], "schema"),
        (encode(Message("dance", 2, {"token": "secret"})), "malformed"),
        (encode(Message("run", 2, {"token": "secret"}, (WEIGHTS[0],))), "malformed"),
        (encode(Message("run", 2, {"token": "secret", "inputs": 99}, (WEIGHTS[0],))), "unknown-inputs"),
    ):
        dealer.send_multipart(frames)
        assert answer(dealer).fields["code"] == code


def test_a_server_that_answers_nonsense_is_not_believed():
    for nonsense in ([b"hello"], encode(Message("chip", 1, {"spec": {"layers": []}}))):
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port("tcp://127.0.0.1")

            def serve(router=router, nonsense=nonsense):
                client, *_ = router.recv_multipart()
                router.send_multipart([client, *nonsense])

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ConnectionError):
                RemoteChip(f"tcp://127.0.0.1:{port}")
            thread.join()


# ---- turns


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_nobody_who_waits_is_passed_over_twice(events):
    turns, waiting, passed = Turns[int](3), {}, {}
    for client, adds in events:
        key = bytes([client])
        if adds:
            queue = waiting.setdefault(key, [])
            assert turns.add(key, len(queue)) == (len(queue) < 3)
            if len(queue) < 3:
                queue.append(len(queue))
                passed.setdefault(key, {})
        else:
            turn = turns.next()
            assert (turn is None) == (not any(waiting.values()))
            if turn is None:
                continue
            served, request = turn
            assert request == waiting[served].pop(0)
            for other, queue in waiting.items():
                if other != served and queue:
                    passed[other][served] = passed[other].get(served, 0) + 1
                    assert passed[other][served] <= 1
            passed[served] = {}
    assert len(turns) == sum(map(len, waiting.values()))


def test_of_eight_clients_none_is_starved():
    # all requests are there before the first turn: then every round of eight turns serves each client once
    with Server(SigmoidChip(), log=print) as server, contextlib.ExitStack() as stack:
        dealers = [stack.enter_context(raw_client(server)) for _ in range(8)]
        for i, dealer in enumerate(dealers):
            for request in range(8):
                dealer.send_multipart(encode(Message("run", request, {"inputs": 1}, (WEIGHTS[0] * i, INPUTS))))
        while len(server.waiting) < 64:
            server.receive(LONG)
        rounds = [{server.serve_one() for _ in range(8)} for _ in range(8)]
        assert rounds[0] == rounds[1]
        assert [len(clients) for clients in rounds] == [8] * 8
        assert all(clients == rounds[0] for clients in rounds)
        assert server.serve_one() is None
        for i, dealer in enumerate(dealers):
            for request in range(8):
                reply = answer(dealer)
                assert reply.request == request
                np.testing.assert_array_equal(reply.arrays[0], SigmoidChip().run([WEIGHTS[0] * i], INPUTS))


def test_a_client_that_asks_too_much_at_once_is_told_so():
    with Server(SigmoidChip(), log=print) as server, raw_client(server) as greedy, raw_client(server) as modest:
        for request in range(1, 21):
            greedy.send_multipart(encode(Message("run", request, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
        while server.refused["busy"] < 12:
            server.receive(LONG)
        modest.send_multipart(encode(Message("run", 1, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
        while len(server.waiting) < 9:
            server.receive(LONG)
        first, second = server.serve_one(), server.serve_one()
        assert first != second
        busy = [answer(greedy) for _ in range(12)]
        assert {reply.fields["code"] for reply in busy} == {"busy"}
        assert [reply.request for reply in busy] == list(range(9, 21))
        assert answer(modest).kind == "counts"


def test_eight_clients_at_once_get_their_own_answers():
    chip = LIFChip((5, 4, 3), "comparator", 3.0, n_steps=20)
    wrong = []

    def ask(seed, address):
        rng = np.random.default_rng(seed)
        inputs, remote = rng.normal(size=(9, 5)), RemoteChip(address)
        for _ in range(20):
            weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
            counts = remote.run(weights, inputs)
            with lock:
                if not np.array_equal(counts, alone.run(weights, inputs)):
                    wrong.append(seed)

    alone, lock = copy.deepcopy(chip), threading.Lock()
    with serving(chip) as server:
        threads = [threading.Thread(target=ask, args=(seed, server.address)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_client_that_dies_is_forgotten():
    chip = ScriptedChip()
    with Server(chip, log=print) as server:
        with raw_client(server) as dying:
            for request in range(4):
                dying.send_multipart(encode(Message("run", request, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
            while len(server.waiting) < 4:
                server.receive(LONG)
        # its connection is closed: sooner or later an answer cannot be delivered, and what else it asked is dropped
        with raw_client(server) as other:
            other.send_multipart(encode(Message("run", 1, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
            while not other.poll(0):
                server.receive(10)
                server.serve_one()
            assert answer(other).kind == "counts"
        assert len(server.waiting) == 0
        remote_like = encode(Message("bye", 0))
        with raw_client(server) as leaving:
            for request in range(3):
                leaving.send_multipart(encode(Message("run", request, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
            leaving.send_multipart(remote_like)
            leaving.send_multipart(encode(Message("hello", 9)))
            while not leaving.poll(0):
                server.receive(10)
            assert answer(leaving).request == 9
        assert len(server.waiting) == 0


# ---- drivers and clients that do what they should not


class Unreadable(Exception):
    def __str__(self):
        raise SystemExit("even its text does")


class UnreadableLink(Unreadable, OSError):
    pass


class UnreadableAnswer(Unreadable, ChipError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        Unreadable(),
        UnreadableLink(),
        UnreadableAnswer(),
        RuntimeError("x" * 10**6),
        RuntimeError("\udc80 \0 \n"),
        BaseExceptionGroup("many", [SystemExit(1)]),
    ],
)
def test_a_server_outlives_whatever_its_driver_raises(error):
    with serving(ScriptedChip(*[raising(error)] * 2)) as server:
        remote = RemoteChip(server.address)
        for _ in range(2):
            with pytest.raises((InputError, ChipError, ConnectionError), match=re.escape(type(error).__name__)) as told:
                remote.run(WEIGHTS, INPUTS)
            assert "\n" not in str(told.value)
            assert len(str(told.value)) < 3_000
        np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), SigmoidChip().run(WEIGHTS, INPUTS))
    assert server.failed.total() == 2
    assert max(map(len, server.lines)) < 700


def test_failures_of_a_chip_are_logged_by_powers_of_two_and_a_log_may_fail():
    told = []

    def log(sentence):
        told.append(sentence)
        raise OSError("no space left on device")

    with Server(ScriptedChip(*[raising(RuntimeError("no"))] * 100), log=log) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        remote = RemoteChip(server.address)
        for _ in range(100):
            with pytest.raises(InputError, match="RuntimeError: no"):
                remote.run(WEIGHTS, INPUTS)
        remote.run(WEIGHTS, INPUTS)
        server.stop()
        thread.join()
    assert server.failed == {"program": 100}
    assert [line.split(",")[1] for line in told] == [f" {2**n} so far (program): RuntimeError: no" for n in range(7)]


def test_ctrl_c_ends_a_server_after_the_run_and_a_second_one_in_it():
    """In a process of its own, for the signal is the whole process's."""
    program = """
import signal, threading, time, os
from bayes_snn.chips.remote.client import RemoteChip
from bayes_snn.chips.remote.server import Server
from tests.helpers.toys import INPUTS, SigmoidChip
class Slow(SigmoidChip):
    def run(self, weights, inputs):
        for _ in range(PRESSES):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return super().run(weights, inputs)
with Server(Slow()) as server:
    remote = threading.Thread(target=lambda: RemoteChip(server.address, timeout=5.0).run([[[1.0, -1.0]]], INPUTS))
    remote.daemon = True
    remote.start()
    try:
        server.serve()
    except KeyboardInterrupt:
        print("interrupted", server.chip.runs)
"""
    for presses, runs in ((1, 1), (2, 0)):
        line = [sys.executable, "-c", program.replace("PRESSES", str(presses))]
        found = subprocess.run(line, capture_output=True, text=True, timeout=LONG / 1000, check=False)
        assert found.stdout == f"interrupted {runs}\n", found.stderr


def accepted(address, opening, size):
    """Bytes that a server takes of `size`, sent after what opens a connection, until it cuts it or all are sent."""
    host, port = split_address(address)
    with socket.create_connection((host, port), 20) as stranger:
        stranger.settimeout(20)
        sent = 0
        try:
            stranger.sendall(opening)
            while sent < size:
                sent += stranger.send(bytes(min(2**16, size - sent)))
            stranger.settimeout(0.2)
            while stranger.recv(2**12):  # the rest of a greeting
                pass
        except TimeoutError:
            return sent  # it holds what came, and waits for more
        except OSError:
            return None
        return None


def greeting(mechanism):
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


HUGE = 50 * 2**20
_READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
READY = bytes([4, len(_READY)]) + _READY  # a command


@pytest.mark.parametrize("flags", [0x06, 0x02, 0x03], ids=["command", "message", "part of a message"])
@pytest.mark.parametrize("mechanism", [b"PLAIN", b"NULL", b"CURVE"])
@pytest.mark.parametrize("curve", [False, True])
def test_a_stranger_cannot_make_a_server_hold_large_messages(flags, mechanism, curve, tmp_path):
    frame = bytes([flags]) + (HUGE + 1).to_bytes(8, "big")  # a byte is missing at its end
    opening = greeting(mechanism) + (READY if mechanism == b"NULL" else b"") + frame
    options = {"curve": make_keys(tmp_path / "lab")[1]} if curve else {}
    with serving(SigmoidChip(), token="secret", **options) as server:
        for _ in range(4):
            assert accepted(server.address, opening, HUGE) is None
        RemoteChip(server.address, "secret", curve=tmp_path / "lab.key" if curve else None).run(WEIGHTS, INPUTS)


def test_a_client_that_takes_another_s_identity_does_not_get_its_inputs():
    with serving(SigmoidChip()) as server:
        with raw_client(server, identity=b"bench-1") as first:
            first.send_multipart(encode(Message("run", 1, {"inputs": 1}, (WEIGHTS[0], INPUTS))))
            np.testing.assert_array_equal(answer(first).arrays[0], SigmoidChip().run(WEIGHTS, INPUTS))
        for _ in range(100):  # until the server has seen the first one leave, it ignores the second
            with raw_client(server, identity=b"bench-1") as second:
                second.send_multipart(encode(Message("run", 2, {"inputs": 1}, (WEIGHTS[0],))))
                if second.poll(500):
                    break
                second.close()
        else:
            pytest.fail("the second client was never heard")
        with raw_client(server, identity=b"bench-2") as third:
            third.send_multipart(encode(Message("run", 2, {"inputs": 1}, (WEIGHTS[0],))))
            assert answer(third).fields["code"] == "unknown-inputs"
    assert len(server._inputs) == 0


# ---- encryption


def test_what_is_encrypted_cannot_be_read_on_the_way(tmp_path):
    public, secret = make_keys(tmp_path / "lab")
    right = SigmoidChip().run(WEIGHTS, INPUTS)
    for keys in ({}, {"curve": public}):
        options = {"curve": secret} if keys else {}
        with (
            serving(SigmoidChip(), token="a secret token", **options) as server,
            relay(server.address) as (address, heard),
        ):
            remote = RemoteChip(address, "a secret token", **keys)
            np.testing.assert_array_equal(remote.run(WEIGHTS, INPUTS), right)
            copied = pickle.loads(pickle.dumps(remote))
            np.testing.assert_array_equal(copied.run(WEIGHTS, INPUTS), right)
            remote.close()
        for text in (b"a secret token", b"bayes_snn/1", INPUTS.tobytes()):
            assert (text in b"".join(heard)) == (not keys)


@contextlib.contextmanager
def relay(address):
    """The address of a relay to a server, and what went through it so far."""
    heard, sockets = [], []

    def pass_on(source, target):
        with contextlib.suppress(OSError):
            while received := source.recv(2**16):
                heard.append(received)
                target.sendall(received)
            target.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(split_address(address))
                sockets.extend([client, server])
                for pair in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=pass_on, args=pair, daemon=True))
                    threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept, daemon=True)]
        threads[0].start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", heard
        listener.shutdown(socket.SHUT_RDWR)
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    for each in sockets:
        each.close()


@pytest.mark.parametrize("curve", [False, True])
def test_large_arrays_go_both_ways(curve, tmp_path):
    public, secret = make_keys(tmp_path / "lab")
    inputs = np.random.default_rng(0).normal(size=(40_000, 1))  # 320 kB; the counts are as many
    with serving(SigmoidChip(), **({"curve": secret} if curve else {})) as server:
        remote = RemoteChip(server.address, curve=public if curve else None)
        np.testing.assert_array_equal(remote.run(WEIGHTS, inputs), SigmoidChip().run(WEIGHTS, inputs))


def test_who_does_not_fit_to_an_encrypted_server_is_told_what_to_give(tmp_path):
    public, secret = make_keys(tmp_path / "lab")
    other, _ = make_keys(tmp_path / "other")
    plain, encrypted = {"token": "secret"}, {"token": "secret", "curve": secret}
    for options, token, curve, says in (
        (plain, "secret", public, "does not encrypt: leave --curve"),
        ({}, None, public, "does not encrypt: leave --curve"),
        (encrypted, "secret", None, "encrypts: give the file with its public key"),
        (encrypted, "secret", other, "cannot be encrypted with this key"),
        (encrypted, "wrong", public, "token is wrong or missing"),
        (encrypted, None, public, "token is wrong or missing"),
    ):
        with serving(SigmoidChip(), **options) as server:
            with pytest.raises(InputError, match=says):
                RemoteChip(server.address, token, curve=curve, timeout=30.0)
            right = {"curve": public} if "curve" in options else {}
            RemoteChip(server.address, options.get("token"), **right).run(WEIGHTS, INPUTS)
    with serving(SigmoidChip(), curve=secret) as server:  # of this machine alone, so without a token
        RemoteChip(server.address, curve=public).run(WEIGHTS, INPUTS)
    with pytest.raises(InputError, match="there is no token"):
        Server(SigmoidChip(), "tcp://0.0.0.0:*", curve=secret)
    with serving(SigmoidChip()) as server:  # which asks for none
        RemoteChip(server.address, "not needed").run(WEIGHTS, INPUTS)


def test_key_files(tmp_path):
    public, secret = make_keys(tmp_path / "lab")
    assert (public.name, secret.name) == ("lab.key", "lab.key_secret")
    assert secret.stat().st_mode & 0o077 == 0
    keys = read_keys(secret, secret=True)
    assert read_keys(public, secret=False).public == keys.public
    assert keys.secret.decode() not in repr(keys)
    assert keys.secret.decode() not in public.read_text()
    zmq.auth.create_certificates(tmp_path, "theirs")  # pyzmq's own are the same
    assert read_keys(tmp_path / "theirs.key_secret", secret=True).secret is not None
    with pytest.raises(InputError, match="cannot be written"):
        make_keys(tmp_path / "lab")
    assert read_keys(secret, secret=True) == keys
    secret.unlink()
    with pytest.raises(InputError, match="cannot be written"):  # nor is half a pair
        make_keys(tmp_path / "lab")
    assert not secret.exists()
    (tmp_path / "short").write_text('curve\n public-key = "abc"\n')
    (tmp_path / "mixed").write_text(
        f'curve\n public-key = "{keys.public.decode()}"\n secret-key = "{zmq.curve_keypair()[1].decode()}"\n'
    )
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name, says in (
        ("none", "No such file"),
        ("short", "40 characters"),
        ("mixed", "do not belong together"),
        ("binary", "cannot be used"),
        (".", "directory"),
        ("lab.key", "holds no secret key"),
    ):
        with pytest.raises(InputError, match=says) as error:
            Server(SigmoidChip(), curve=tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="at most 255"):
        RemoteChip("tcp://127.0.0.1:1", "x" * 256)


def test_headers_are_plain_json():
    header = json.loads(encode(Message("run", 3, {"inputs": 1}, (np.ones((1, 2)),)))[0])
    assert header == {
        "schema": "bayes_snn/1",
        "kind": "run",
        "request": 3,
        "inputs": 1,
        "arrays": [{"dtype": "<f8", "shape": [1, 2]}],
    }
    with pytest.raises(WireError):
        decode([b"cos\nsystem\n(S'true'\ntR."])  # a pickle is no message
    assert unit_spec((1, 2), 12) == SigmoidChip().spec
