"""A chip behind a server: the same answers, turns for all, and a server that outlives whatever it is sent."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import socket
import threading

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_snn.addresses import is_local
from bayes_snn.chip import ChipSpec
from bayes_snn.chip_source import find_chip
from bayes_snn.errors import ChipError, InputError, LinkError
from bayes_snn.fit import fit
from bayes_snn.lif import LIFChip
from bayes_snn.link import Link
from bayes_snn.remote import RemoteChip
from bayes_snn.server import Server
from bayes_snn.turns import Turns
from bayes_snn.wire import Message, WireError, decode, encode
from tests.fits import same_draws
from tests.toys import INPUTS, LABELS, SigmoidChip

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
def raw_client(server):
    """A bare socket."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(server.address)
        yield dealer


def answer(dealer):
    assert dealer.poll(LONG)
    return decode(dealer.recv_multipart())


def small_fit(chip, sampler="block", **options):
    return fit(chip, INPUTS, LABELS, sampler=sampler, **{"draws": 2, "tune": 1, "chains": 2, "cores": 1, **options})


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
    monkeypatch.setattr("bayes_snn.server.MOST_KNOWN_INPUTS", 1)
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
        (raising(TypeError("no such argument")), InputError, "TypeError: no such argument: mend the chip's driver"),
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
    ["", "127.0.0.1:5555", "tcp://", "tcp://host", "tcp://host:port", "tcp://h:99999", "http://h:80", 5, "ipc://"],
)
def test_addresses_that_are_refused(address):
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        RemoteChip(address)


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
        assert server.refused == {"token": 1}
        assert server.lines == ["Refused, 1 so far (token): The token is wrong or missing."]
        with pytest.raises(InputError, match="token"):
            find_chip(server.address, token)
        RemoteChip(server.address, "secret").run(WEIGHTS, INPUTS)


def test_every_message_must_show_the_token():
    chip = SigmoidChip()
    with serving(chip, token="secret") as server, raw_client(server) as dealer:
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
    with serving(SigmoidChip(), token="secret") as server, raw_client(server) as dealer:
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
    assert ChipSpec((1, 2), 12) == SigmoidChip().spec
