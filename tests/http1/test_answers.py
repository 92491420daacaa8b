"""What a client gets: framing, order, files, aborts, deadlines, the end of the server."""

from __future__ import annotations

import errno
import http.client
import os
import subprocess
import sys
from functools import partial

import pytest
import trio
import trio.testing

from p2pcdn.errors import NotFound
from p2pcdn.http1 import FileSlice, Growing, Limits, Request, Response, serve

PAGE = b"<a>numpy</a>" * 100

GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def ask(path: str) -> bytes:
    return LAST % path.encode()


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.fixture(params=["socket", "memory"])
def exchange(request, served, in_memory, read_all):
    """Sends bytes, gives what comes back: once by the descriptor of a socket, once over a plain stream."""

    async def run(face, raw, **options):
        if request.param == "memory":
            async with in_memory(face, **options) as stream:
                await stream.send_all(raw)
                return await read_all(stream)
        async with served(face, **options) as connect:
            stream = await connect()
            await stream.send_all(raw)
            return await read_all(stream)

    return run


async def test_a_page_has_its_length_and_a_date(face, exchange):
    answer = await exchange(face, ask("/page"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert b"\r\ncontent-length: %d\r\n" % len(PAGE) in answer
    assert b"server:" not in answer.lower()
    assert body(answer) == PAGE


async def test_head_is_the_get_without_its_body(face, exchange):
    for path in ("/page", "/file", "/broken", "/chunks"):
        answer = await exchange(face, ask(path).replace(b"GET", b"HEAD"))
        assert body(answer) == b""
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: " in answer or b"transfer-encoding: chunked" in answer
    assert face.released == 3


@pytest.mark.parametrize("path", ["/not-modified", "/empty"])
async def test_304_and_204_have_no_body_and_the_connection_lives_on(path, face, exchange):
    answer = await exchange(face, GET % path.encode() + ask("/page"))
    first, _, second = answer.partition(b"\r\n\r\n")
    assert b"content-length" not in first
    assert second.startswith(b"HTTP/1.1 200 ")


async def test_pipelined_requests_are_answered_in_their_order(face, exchange):
    face.let_go.set()
    raw = GET % b"/page" + GET % b"/waits" + GET % b"/chunks" + GET % b"/file" + ask("/empty")
    answer = await exchange(face, raw)
    assert [request.path for request in face.requests] == ["/page", "/waits", "/chunks", "/file", "/empty"]
    order = [answer.index(mark) for mark in (PAGE, b"waited", b"first ", b" last", b"HTTP/1.1 204")]
    assert order == sorted(order)


async def test_nothing_is_answered_after_the_close_that_a_client_wished(face, exchange):
    assert (await exchange(face, ask("/page") + ask("/page"))).count(b"HTTP/1.1 200") == 1


async def test_an_old_client_is_closed_unless_it_asks_to_stay(face, exchange):
    old = b"GET /page HTTP/1.0\r\nHost: h\r\n"
    answer = await exchange(face, old + b"Connection: keep-alive\r\n\r\n" + old + b"\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"connection: keep-alive" in answer
    assert answer.count(b"connection: close") == 1


async def test_a_body_of_unknown_size_is_chunked_or_ends_with_the_connection(face, exchange):
    answer = await exchange(face, ask("/chunks"))
    start = bytes(range(5))
    assert body(answer) == b"6\r\nfirst \r\n5\r\n" + start + b"\r\n5\r\n last\r\n0\r\n\r\n"
    answer = await exchange(face, b"GET /chunks HTTP/1.0\r\nHost: h\r\n\r\n")
    assert body(answer) == b"first " + start + b" last"
    assert b"transfer-encoding" not in answer
    assert b"connection: close" in answer


async def test_a_file_is_the_same_bytes_by_sendfile_and_by_reading(face, exchange):
    wanted = (bytes(range(251)) * 12_500)[10 : 10 + 3_000_000]
    assert body(await exchange(face, ask("/file"))) == wanted
    assert body(await exchange(face, ask("/hidden"))) == wanted
    assert face.released == 2
    assert [row[1:] for row in face.answers] in ([(200, 3_000_000)] * 2, [])


@pytest.mark.parametrize("hidden", [False, True])
async def test_pieces_that_are_asked_for_at_once_come_whole_and_in_order(hidden, face, exchange):
    """More than any buffer takes: some go out behind their heads at once, some in part, some when there is room."""
    spans = [(1000 * index, 200_000 + 70_000 * index) for index in range(12)]

    def pieces(request: Request) -> Response:
        start, size_bytes = spans[int(request.path[1:])]
        file = face.hidden if hidden else face.file
        return Response(200, (), FileSlice(file, start, size_bytes), release=face.release)

    last = len(spans) - 1
    answers = await exchange(pieces, b"".join(GET % b"/%d" % index for index in range(last)) + LAST % b"/%d" % last)
    content = bytes(range(251)) * 12_500
    for start, size_bytes in spans:
        head, _, answers = answers.partition(b"\r\n\r\n")
        assert b"content-length: %d" % size_bytes in head
        assert answers[:size_bytes] == content[start : start + size_bytes]
        answers = answers[size_bytes:]
    assert answers == b""
    assert face.released == len(spans)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 304), (b"GET", 204)])
async def test_the_head_of_a_file_is_sent_without_it(method, status, face, exchange):
    def piece(request: Request) -> Response:
        return Response(200 if request.path == "/piece" else status, (), FileSlice(face.file, 0, 1000))

    answers = await exchange(piece, method + b" /head HTTP/1.1\r\nHost: h\r\n\r\n" + ask("/piece"))
    assert len(answers) < 2000
    assert body(body(answers)) == (bytes(range(251)) * 4)[:1000]


async def test_a_file_that_ends_too_soon_is_cut_and_never_completed(face, exchange, caplog):
    def piece(request: Request) -> Response:
        return Response(200, (), FileSlice(face.file, 251 * 12_500 - 1000, 2000), release=face.release)

    answer = await exchange(piece, GET % b"/piece" + GET % b"/piece")
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert len(body(answer)) <= 1000
    assert face.released == 1


@pytest.mark.parametrize(
    "error", [NotFound("thing.whl cannot be read in the store."), OSError(errno.EIO, "bad sector")]
)
async def test_what_the_disk_cannot_read_is_told_by_the_files_own_door(error, exchange, tmp_path, caplog):
    class Unreadable:
        """Its descriptor can only be written to, so that sendfile fails as it does on a bad sector."""

        def fileno(self) -> int:
            return descriptor

        async def pread(self, size_bytes: int, offset: int) -> bytes:
            raise error

    def piece(request: Request) -> Response:
        return Response(200, (), FileSlice(Unreadable(), 0, 2_000_000))

    descriptor = os.open(tmp_path / "thing.whl", os.O_WRONLY | os.O_CREAT)
    try:
        answer = await exchange(piece, GET % b"/piece")
    finally:
        os.close(descriptor)
    assert body(answer) == b""
    (told,) = [record for record in caplog.records if "broken off" in record.message]
    assert "cannot" in told.message
    assert told.exc_info is None, "a disk is no fault of the program"


@pytest.mark.parametrize("path", ["/broken", "/broken-chunks", "/short"])
async def test_a_broken_body_is_cut_and_never_completed(path, face, exchange):
    answer = await exchange(face, GET % path.encode() + GET % b"/page")
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"\r\n0\r\n\r\n" not in answer
    assert len(body(answer)) < 20
    assert face.released == (path != "/short")


async def test_a_broken_body_is_an_error_for_an_old_client_too(face, served):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(b"GET /broken-chunks HTTP/1.0\r\nHost: h\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            [part async for part in stream]


async def test_a_body_is_never_longer_than_it_was_said_to_be(face, exchange):
    assert len(body(await exchange(face, ask("/long")))) <= 3


@pytest.mark.parametrize("path", ["/fails", "/splits"])
async def test_a_failing_face_is_a_500_and_the_server_lives_on(path, face, served, read_all, caplog):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(GET % path.encode() + GET % b"/page")
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"set-cookie" not in answer
        assert "Traceback" in caplog.text
        stream = await connect()
        await stream.send_all(ask("/page"))
        assert body(await read_all(stream)) == PAGE


@pytest.mark.parametrize(
    "sent", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"]
)
async def test_a_face_that_takes_bodies_reads_them(sent, face, exchange):
    raw = b"POST /echo HTTP/1.1\r\nHost: h\r\n" + sent
    if b"chunked" not in sent:
        raw += ask("/page")
    answer = await exchange(face, raw, bodies=True)
    assert body(answer).startswith(b"hello")
    assert (b"connection: close" in answer.partition(b"hello")[0]) == (b"chunked" in sent)


async def test_a_body_that_nobody_reads_ends_the_connection(face, exchange):
    raw = b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n" + ask("/smuggled") + b"x" * 50
    answer = await exchange(face, raw, bodies=True)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


async def test_a_client_that_asks_first_is_told_to_go_on(face, served, read_all):
    async with served(face, bodies=True) as connect:
        stream = await connect()
        await stream.send_all(b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"hi" + ask("/page"))
        answer = await read_all(stream)
        assert body(answer).startswith(b"hi")


async def test_an_offer_to_upgrade_is_not_taken_up(face, exchange):
    raw = b"GET /page HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    assert (await exchange(face, raw + ask("/page"))).count(b"HTTP/1.1 200") == 2


async def test_a_request_is_split_into_its_parts(face, exchange):
    await exchange(face, b"GET /a%2Fb?c=d?e HTTP/1.1\r\nHost: h\r\nX-A: 1 \r\nx-a:2\r\nConnection: close\r\n\r\n")
    request = face.requests[0]
    assert (request.path, request.query, request.target) == ("/a%2Fb", "c=d?e", b"/a%2Fb?c=d?e")
    assert request.headers["x-a"] == "1, 2"
    assert [part async for part in request.body] == []


async def test_a_slow_head_is_408_after_its_time_however_it_drips(autojump_clock, face, in_memory):
    async with in_memory(face) as stream, trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in GET % b"/page" + b"X" * 100:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)

        began = trio.current_time()
        nursery.start_soon(drip)
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - began == pytest.approx(10, abs=0.5)
        nursery.cancel_scope.cancel()


async def test_a_slow_head_after_a_quick_one_is_408_on_a_socket_too(face, served, read_all):
    async with served(face, limits=Limits(head_time_s=0.2)) as connect:
        stream = await connect()
        await stream.send_all(GET % b"/page")
        await stream.receive_some()
        await stream.send_all(b"GET /page HT")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_and_a_silent_one_are_closed_without_a_word(autojump_clock, face, in_memory):
    async with in_memory(face) as stream:
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(10, abs=0.5)
    async with in_memory(face) as stream:
        began = trio.current_time()
        await stream.send_all(GET % b"/page")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(75, abs=1.5)


async def test_a_face_may_take_longer_than_any_deadline_of_the_client(autojump_clock, face, in_memory):
    async with in_memory(face) as stream:
        await stream.send_all(ask("/waits"))
        await trio.sleep(1000)
        face.let_go.set()
        assert (await stream.receive_some()).endswith(b"waited")


async def test_a_body_that_stops_arriving_is_408(autojump_clock, face, in_memory):
    async with in_memory(face, bodies=True) as stream:
        await stream.send_all(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_reads_nothing_is_dropped(face, served, read_all):
    async with served(face, limits=Limits(write_time_s=0.2)) as connect:
        stream = await connect()
        await stream.send_all(GET % b"/endless")
        with trio.fail_after(10):
            while not face.released:
                await trio.lowlevel.checkpoint()
        assert face.answers[0][:2] == ("/endless", 200)


async def test_an_honest_client_is_served_among_500_slow_ones(face, served, read_all):
    async with served(face, limits=Limits(connections_max=600)) as connect:
        slow = [await connect() for _ in range(500)]
        for stream in slow:
            await stream.send_all(b"GET /page HTTP/1.1\r\nHo")
        stream = await connect()
        await stream.send_all(ask("/page"))
        assert body(await read_all(stream)) == PAGE
        for stream in slow:
            await stream.aclose()


async def test_one_connection_too_many_is_told_so(face, served, read_all):
    async with served(face, limits=Limits(connections_max=2)) as connect:
        first, second = await connect(), await connect()
        for stream in (first, second):
            await stream.send_all(GET % b"/page")
            await stream.receive_some()
        answer = await read_all(await connect())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connections_max" in answer
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        third = await connect()
        await third.send_all(ask("/page"))
        assert body(await read_all(third)) == PAGE


async def test_one_host_cannot_hold_all_connections(face):
    """A stranger opens what he can and says nothing; whoever comes from elsewhere is served."""
    limits = Limits(connections_per_host_max=2)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="0.0.0.0")
        port = listeners[0].socket.getsockname()[1]
        await nursery.start(partial(serve, listeners, face, limits=limits, cross_site=True))

        async def dial(host):
            stream = trio.SocketStream(trio.socket.socket())
            await stream.socket.bind((host, 0))
            await stream.socket.connect(("127.0.0.1", port))
            return stream

        async def status(stream):
            await stream.send_all(GET % b"/page")
            return bytes(await stream.receive_some(12))

        held = [await dial("127.0.0.7") for _ in range(2)]
        for stream in held:
            assert await status(stream) == b"HTTP/1.1 200"
        assert await (await dial("127.0.0.7")).receive_some(12) == b"HTTP/1.1 503"
        assert await status(await dial("127.0.0.8")) == b"HTTP/1.1 200"
        await held[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await status(await dial("127.0.0.7")) == b"HTTP/1.1 200"
        nursery.cancel_scope.cancel()


async def test_stop_closes_idle_connections_and_lets_a_running_answer_end(face, served, read_all):
    stop = trio.Event()
    async with served(face, stop=stop) as connect:
        idle, running = await connect(), await connect()
        await idle.send_all(GET % b"/page")
        await idle.receive_some()
        await running.send_all(GET % b"/waits" + GET % b"/page")
        while len(face.requests) < 2:
            await trio.lowlevel.checkpoint()
        stop.set()
        assert await read_all(idle) == b""
        with pytest.raises(OSError):
            await connect()
        face.let_go.set()
        answer = await read_all(running)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert body(answer) == b"waited"


async def test_stop_cancels_what_does_not_end_within_the_grace(face, served, read_all):
    stop = trio.Event()
    async with served(face, stop=stop, limits=Limits(grace_time_s=0.1)) as connect:
        stream = await connect()
        await stream.send_all(GET % b"/waits")
        while not face.requests:
            await trio.lowlevel.checkpoint()
        stop.set()
        assert await read_all(stream) == b""


class ExhaustedListener(trio.abc.Listener[trio.abc.Stream]):
    """Has no descriptor left at its first call, then one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._outcomes: list[trio.abc.Stream | OSError] = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), stream]

    async def accept(self) -> trio.abc.Stream:
        if not self._outcomes:
            await trio.sleep_forever()
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_running_out_of_descriptors_is_outlived(autojump_clock, face):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve([ExhaustedListener(ours)], face))
        await theirs.send_all(ask("/page"))
        assert (await theirs.receive_some()).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
async def test_a_unix_socket_says_who_calls(face, tmp_path, read_all):
    socket = trio.socket.socket(trio.socket.AF_UNIX)
    await socket.bind(str(tmp_path / "control"))
    socket.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve([trio.SocketListener(socket)], face))
        stream = await trio.open_unix_socket(str(tmp_path / "control"))
        await stream.send_all(ask("/page"))
        assert body(await read_all(stream)) == PAGE
        nursery.cancel_scope.cancel()
    assert face.requests[0].peer_uid == os.getuid()
    assert face.requests[0].peer == f"unix:uid={os.getuid()}"


async def test_the_client_of_the_standard_library_understands_us(face, served):
    async with served(face, bodies=True) as connect:
        host, port = (await connect()).socket.getpeername()

        def client() -> list[bytes]:
            connection = http.client.HTTPConnection(host, port, timeout=10)
            bodies = []
            for path in ("/page", "/chunks", "/file", "/page"):
                connection.request("GET", path)
                bodies.append(connection.getresponse().read())
            connection.request("POST", "/echo", iter([b"a" * 70_000, b"b"]))
            bodies.append(connection.getresponse().read())
            return bodies

        bodies = await trio.to_thread.run_sync(client)
    assert [len(content) for content in bodies] == [len(PAGE), 16, 3_000_000, len(PAGE), 70_001]


async def test_a_page_larger_than_the_buffers_arrives_whole(served, read_all):
    page = os.urandom(9_000_000)

    def face(request: Request) -> Response:
        return Response(200, (), page)

    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(ask("/page"))
        await trio.testing.wait_all_tasks_blocked()
        assert body(await read_all(stream)) == page


def test_the_room_opens_no_socket_and_loads_nothing_heavy():
    code = "import sys, p2pcdn.http1; print([name for name in ('httpx', 'h11', 'click') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class Pushed(Growing):
    """The parts of a body: each is pushed by a task of its own, and what the wire does not take is iterated."""

    def __init__(self, parts):
        super().__init__()
        self.parts = list(parts)
        self.left = b""
        self.wake = trio.Event()

    async def fill(self):
        for part in self.parts:
            await trio.testing.wait_all_tasks_blocked()
            whole = self.left + part
            self.left = whole[self.push(memoryview(whole)) :]
        self.parts = []
        self.wake.set()

    async def __anext__(self):
        await self.wake.wait()
        part, self.left = self.left, b""
        if not part:
            raise StopAsyncIteration
        return part


async def test_a_body_that_others_push_comes_whole_and_is_counted(exchange):
    parts, counted = [bytes([number]) * 3000 for number in range(5)], []
    async with trio.open_nursery() as nursery:

        def give(request):
            pushed = Pushed(parts)
            nursery.start_soon(pushed.fill)
            return Response(200, body=pushed, size_bytes=15_000)

        answer = await exchange(give, ask("/"), on_answer=lambda request, status, size: counted.append(size))
    assert body(answer) == b"".join(parts)
    assert counted == [15_000]
